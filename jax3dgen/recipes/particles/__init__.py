"""Images moved directly by an objective, without a scene."""
