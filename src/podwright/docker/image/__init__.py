"""Images that a Docker Engine keeps, as the rest of the house knows images."""
