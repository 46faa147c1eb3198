"""What `podwright doctor` looks at, one area a file. Each function looks at one thing and returns Findings.

They ask the rooms that will do the work wherever those can say (cgroup.detect, runtime.handlers, network.conflist), so
that doctor and daemon can't disagree. Nothing is changed; the trial mount of `storage` is undone at once.
"""
