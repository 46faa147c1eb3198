"""What holds whichever backend runs containers: the native backend's own tests, on a Docker Engine.

Left out are those of what Docker can't do (docs/docker.md), and those that only take longer here.
"""

from __future__ import annotations

from tests.system.test_containers import (
    test_command_and_args_follow_the_image,
    test_commands_that_end_before_their_start_returns,
    test_create_retried_returns_the_same_container,
    test_environment_user_and_directory,
    test_exec_errors,
    test_exec_sync,
    test_exit_codes,
    test_mounts,
    test_oom_kill_is_told_apart,
    test_resources_reach_the_cgroup,
    test_stop_gives_grace_and_a_second_stop_shortens_it,
    test_wrong_states_and_names,
)
from tests.system.test_events import (
    test_a_container_that_is_stopped_before_it_started,
    test_containers_that_end_by_themselves,
)
from tests.system.test_metrics import test_a_running_pod
from tests.system.test_pods import (
    test_a_retried_run_joins_the_one_in_flight,
    test_bad_requests_name_the_field_and_leave_nothing,
    test_files_of_the_pod,
    test_host_network,
    test_pod_network_reaches_from_the_host_and_by_host_port,
    test_processes_of_a_shared_pid_namespace_see_each_other,
    test_remove_takes_running_containers_along,
    test_shared_memory_is_the_pods,
)
from tests.system.test_resources import (
    test_all_limits_or_none,
    test_huge_pages_as_the_kubelet_limits_them,
    test_memory_in_use_is_not_taken_away,
)
from tests.system.test_security import (
    test_an_image_can_lend_no_file_of_the_hosts_as_its_accounts,
    test_masked_and_read_only_paths_are_those_given,
    test_no_new_privileges,
    test_other_sysctls_are_refused_before_anything_is_made,
    test_pid_namespaces,
    test_pid_targets_that_cant_be,
    test_seccomp_profiles,
    test_sysctls_are_the_pods_alone,
    test_who_it_cant_be,
    test_who_the_process_is,
)
from tests.system.test_stats import test_a_pods_network, test_which_containers
from tests.system.test_streamed_lists import test_images, test_nothing_is_the_end_at_once, test_pods_and_containers
from tests.system.test_streaming import test_exec_over_both_transports
