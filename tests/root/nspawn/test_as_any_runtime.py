"""What crun and runc are held to, nspawn is: the same tests, with conmon for the caller."""
# ruff: noqa: F401 - pytest finds them here, with this directory's fixtures

from tests.root.monitor.test_attach import (
    tasks,
    test_a_terminal_and_its_size,
    test_input_that_nobody_reads_is_thrown_away,
)
from tests.root.monitor.test_conmon import (
    test_a_command_that_cannot_run_fails_the_creation,
    test_a_signal_is_128_plus_its_number,
    test_exit_code_and_log_of_both_streams,
    test_no_descriptor_leaks_into_container_or_monitor,
)
from tests.root.runtime.test_cli import (
    test_kill_all_reaches_children,
    test_life_cycle,
    test_update_changes_what_is_set_and_nothing_else,
)
from tests.root.runtime.test_exec import (
    test_it_has_the_containers_confinement,
    test_only_in_running_containers,
    test_output_of_both_streams,
    test_the_hosts_dev_null_stays_its_own,
)
from tests.root.runtime.test_interactive import client, test_a_cancelled_caller_kills, test_a_terminal
from tests.root.runtime.test_seccomp import test_default_profile, test_profile_from_a_file
from tests.root.runtime.test_spec import (
    test_capabilities,
    test_devices,
    test_files_of_the_pod_and_mounts_of_the_request,
    test_identity_environment_and_directory,
    test_paths_that_are_hidden,
    test_privileged,
    test_read_only_mounts,
    test_resources,
    volume,
)
