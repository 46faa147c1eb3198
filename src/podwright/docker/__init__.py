"""The Docker Engine backend: pods, containers and images that a Docker Engine keeps."""
