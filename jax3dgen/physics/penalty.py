def simulate(*a): raise NotImplementedError
