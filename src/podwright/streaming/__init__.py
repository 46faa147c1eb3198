"""Exec, attach and port-forward: an HTTP/1.1 server whose connections become SPDY or WebSocket.

server          listens, ties URLs to requests by one-time tokens (tokens), answers or upgrades (http)
carriers        the streams of an exec or attach, over SPDY (spdy) or WebSocket (websocket)
remotecommand   one exec or attach: streams → backend → how it ended
portforward     pairs of streams → connections to ports of a pod
client          the other side, for the command line
"""
