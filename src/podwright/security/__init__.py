"""What a container may do: seccomp, capabilities, AppArmor, SELinux, and the limits the daemon can hand on."""
