"""Every entry of docs/differences.md that source can show is shown: a line that uses it is not called the same.

An entry is known by the first test that it names. A new one needs a line here: what shows it, or why nothing can.
"""

from __future__ import annotations

import functools
import re
import tempfile
from pathlib import Path

import pytest

from pyqs_celery_compat.checking.run import check

TEXT = (Path(__file__).parents[2] / "docs" / "differences.md").read_text()
#: What stands before each line.
HEAD = """
import celery
from celery import *
from celery import bootsteps, signals
from kombu import Exchange
app = celery.Celery("x")
@app.task(bind=True)
def task(self):
    pass
"""
#: What is better here than it was, or a matter of a running worker or of a value: no source shows that somebody counts on it.
UNSEEN = """
    test_a_countdown_on_a_fifo_queue_is_warned_about_once test_an_impossible_delay_is_an_error
    test_too_large_is_said_before_anything_is_sent test_an_argument_that_cannot_be_written_is_named
    test_what_no_queue_is_bound_to_is_an_error_and_not_a_lost_message test_nobody_hangs_for_minutes_who_has_not_asked_for_it
    test_a_dotted_predefined_queue_is_found test_a_retry_on_a_fifo_queue_has_no_delay_and_keeps_its_group test_broker_urls
    test_a_call_that_is_not_due_hops test_poison_stays_on_its_queue
    test_an_unknown_task_in_a_chain_stops_it_and_its_state_says_why test_a_retry_is_the_same_call_once_more
    test_a_task_module_under_the_working_directory_is_imported test_a_small_message_that_grows_is_left_and_the_limit_is_named
    test_without_an_app_everything_that_runs_no_code_is_read test_native_messages_run_in_the_same_worker test_acknowledgement
    test_a_retry_goes_to_the_queue_the_message_came_from test_a_retry_that_cannot_be_written_keeps_the_message
    test_the_request_is_what_celerys_worker_gives test_a_missing_queue_has_no_messages_and_is_not_created
    test_it_says_where_it_leads_without_the_secret
    test_who_may_not_ask_is_connected_and_what_does_not_pass_is_not_tried_again test_every_way_to_declare_queues
    test_a_backoff_policy_hides_what_its_tasks_reject test_what_is_not_kept_comes_again_and_sends_nothing
    test_two_functions_of_one_name_are_told_of_once_with_their_places test_an_inner_chord_that_fails_fails_the_outer_one
    test_a_chord_in_the_group_at_the_end_of_a_chain_in_a_header_counts
    test_a_header_with_a_group_in_it_does_without_the_results_that_are_counted
    test_a_copy_that_comes_when_all_is_over_changes_nothing
    test_who_dies_before_it_is_over_is_followed_by_another_that_sends_the_same_body test_a_chunk_of_nothing_is_an_error
    test_an_errback_that_is_a_canvas_is_published_not_called test_what_is_no_signal_is_an_error_here_and_not_in_workers
    test_the_broker_by_its_parts test_no_thread_takes_a_default_for_what_is_about_to_be_read
    test_a_class_that_takes_a_name_over_is_told test_an_import_error_in_the_app_module_is_shown
    test_secrets_stay_out_of_texts test_a_native_task_is_refused_on_a_queue_that_the_app_declares
    test_every_module_has_two_names_and_is_one_object
    test_genuine_celery_imported_first_is_an_error_that_says_where_from_and_what_to_do
    test_the_distribution_is_presented_only_where_there_is_none
    test_without_the_alias_nothing_is_written_that_only_we_could_read
    test_nothing_is_due_without_a_pause_in_an_hour_that_comes_twice test_a_deadline_is_of_elapsed_time
    test_what_is_no_crontab_is_one_clear_error test_a_line_of_cron_has_five_fields test_numbers_and_spans_are_schedules
    test_what_could_not_be_sent_has_not_run_and_is_tried_again test_two_beats_give_the_same_time_of_the_clock_the_same_id
    test_the_file_is_written_before_beat_waits test_the_file_survives test_a_corrupt_file_is_moved_aside
    test_another_timezone_forgets_nothing
    test_an_interval_keeps_its_distance_when_the_clock_is_set test_the_daily_cleanup_is_remembered_like_the_others
    test_a_schedule_that_is_none_is_one_clear_error test_a_second_worker_with_beat_waits_and_takes_over
    test_the_broker_and_the_result_backend_of_the_command_line test_call_and_result
    test_what_cannot_be_is_said test_a_hard_limit_ends_a_task_as_far_as_anybody_waits_for_it test_any_pool_is_threads
    test_without_the_ping_task_the_error_says_what_to_import test_one_that_runs_is_terminated
    test_a_stop_that_takes_too_long_is_an_error_and_the_task_is_given_up
    test_iso_8601 test_what_loading_opened_is_closed_before_anything_forks test_it_becomes_pyqs_where_manage_py_is
""".split()  # noqa: SIM905 - a list of words
#: A line that shows it.
SEEN = {
    "test_a_countdown_becomes_a_delay_and_stays_an_eta": "task.apply_async(countdown=60)",
    "test_other_exchanges_are_declared_and_refused_when_something_is_sent": "Exchange('x', type='fanout')",
    "test_a_rate_limit_names_a_bucket_and_its_rate": "app.task(rate_limit='1/s')(print)",
    "test_who_is_told_and_what_becomes_of_the_message": "signals.task_failure.connect(print)",
    "test_what_is_received_again_comes_later_each_time": "app.conf.task_reject_on_worker_lost = True",
    "test_other_brokers_are_refused_without_their_password": "app.conf.broker_url = 'redis://'",
    "test_settings_that_cannot_be_honoured_stop_the_worker": "app.conf.broker_transport_options = {'supports_fanout': True}",
    "test_anything_else_is_refused": "app.conf.task_default_rate_limit = '-1/s'",
    "test_limits_of_a_child_are_taken_over": "app.conf.worker_max_memory_per_child = 1000",
    "test_the_workers_signals_in_celerys_order": "signals.worker_init.connect(print)",
    "test_a_popular_health_check": "app.connection()",
    "test_what_has_succeeded_is_not_run_again_but_what_follows_it_is_sent": "task.request.delivery_info",
    "test_a_worker_may_knowingly_go_without_results": "app.conf.result_backend = 'mongodb://'",
    "test_a_backend_that_comes_later_lets_publish_and_says_so_to_who_asks": "celery.Celery(backend='rpc://')",
    "test_a_generator_is_read_before_anything_is_sent": "group(task.s() for _ in range(3))",
    "test_async_functions_run_to_their_end": "@app.task\nasync def late(): ...",
    "test_it_is_as_under_celery_57": "signals.task_received.connect(print)",
    "test_messages_that_cannot_be_run_are_told_of": "signals.task_rejected.connect(print)",
    "test_a_request_class_of_ones_own_can_be_defined_and_a_worker_says_that_it_is_not_called": "class T(Task):\n  Request = 1",
    "test_commands_are_none_and_one_warning_says_what_to_do": "app.control.shutdown()",
    "test_every_way_to_revoke": "app.control.revoke('id')",
    "test_commands_of_a_project_are_kept_and_a_worker_says_that_nobody_can_send_them": "from celery.worker import control",
    "test_events_go_nowhere_and_listening_is_an_error": "app.events.Receiver",
    "test_what_a_step_does_when_it_is_made_is_there_where_tasks_run": "app.steps['worker'].add(print)",
    "test_consumer_steps_stop_a_worker_before_it_starts": "app.steps['consumer'].add(print)",
    "test_there_is_no_remote_control": "app.conf.beat_enable_remote_control = True",
    "test_a_value_that_cannot_be_meant_is_named_with_what_is_right": "app.conf.broker_url = ['sqs://', 'sqs://']",
    "test_processes_of_a_worker": "from celery.loaders.base import BaseLoader",
    "test_json_tells_every_setting_that_was_set": "run(['celery', '-A', 'x', 'report'])",
    "test_what_is_not_here_is_never_genuine_celerys": "import celery.security",
    "test_what_celery_has_removed_is_said_with_what_to_do": "from celery.task import periodic_task",
    "test_where_it_is_installed_it_stays_and_has_our_exceptions": "from billiard import Process",
    "test_python_dash_m_celery_is_celerys_command_line": "run(['celery', '-A', 'x', 'worker'])",
    "test_a_line_of_a_dockerfile_runs_and_is_probed_from_its_start_to_its_end": "x = ['celery', '-A', 'x', 'inspect', 'y']",
    "test_what_is_refused_says_what_to_do": "run(['celery', '-A', 'x', 'worker', '--purge'])",
    "test_a_worker_from_code_runs_the_scripts_own_tasks": "app.worker_main()",
    "test_what_cannot_be_made_says_what_there_is_instead": "from celery.concurrency.prefork import TaskPool",
    "test_platforms_change_no_user_and_detach_nothing": "from celery.platforms import maybe_drop_privileges",
}


@functools.cache
def entries() -> frozenset[str]:
    rows = re.findall(r"^\| .* \| ([^|]*::[^|]*) \|$", TEXT, re.MULTILINE)
    return frozenset(re.search(r"::(\w+)", row)[1] for row in rows)  # type: ignore[index]


def test_every_entry_is_shown_or_cannot_be() -> None:
    assert len(entries()) > 80
    assert not set(SEEN) & set(UNSEEN)
    assert entries() - set(SEEN) - set(UNSEEN) == set(), "say of these how a check shows them"
    assert set(SEEN) | set(UNSEEN) == entries(), "these are entries no more"


@pytest.mark.parametrize("entry", SEEN)
def test_a_line_that_uses_it_is_not_called_the_same(entry: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "uses.py").write_text(f"{HEAD}\n{SEEN[entry]}\n")
        found = check([folder], directory=folder)["findings"]
    first = len(HEAD.splitlines()) + 2
    assert [one for one in found if one["line"] >= first and one["verdict"] in ("difference", "not-supported")], found
