"""NRI: plugins that see pods and containers come and go, and may change what a container is made of."""
