"""Data formats of the Open Container Initiative, as typed data. Nothing here touches a file or a socket."""
