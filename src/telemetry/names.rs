//! The names of all metrics.
//!
//! A registry does not tell of metrics that have no time series yet, and a configuration that names one is checked before there
//! is any registry. `docs/metrics.md` has these names and no others, which is tested here, and what is served is held against
//! that page.

/// In the order of `docs/metrics.md`.
pub const NAMES: &[&str] = &[
    "kinetail_lines_total",
    "kinetail_read_bytes_total",
    "kinetail_records_total",
    "kinetail_lag_bytes",
    "kinetail_lag_seconds",
    "kinetail_behind_bytes",
    "kinetail_open_files",
    "kinetail_rotations_total",
    "kinetail_truncations_total",
    "kinetail_files_vanished_total",
    "kinetail_files_abandoned_total",
    "kinetail_abandoned_bytes_total",
    "kinetail_lines_cut_total",
    "kinetail_lines_skipped_total",
    "kinetail_multiline_limited_total",
    "kinetail_lines_malformed_total",
    "kinetail_own_log_lines_total",
    "kinetail_lines_unfinished_total",
    "kinetail_groups_set_aside_total",
    "kinetail_file_lag_bytes",
    "kinetail_file_lag_seconds",
    "kinetail_route_rate_limit_bytes_per_second",
    "kinetail_route_rate_limit_lines_per_second",
    "kinetail_rate_limit_pauses_total",
    "kinetail_rate_limit_dropped_messages_total",
    "kinetail_rate_limit_dropped_bytes_total",
    "kinetail_step_failures_total",
    "kinetail_messages_dropped_total",
    "kinetail_messages_redacted_total",
    "kinetail_messages_invalid_utf8_total",
    "kinetail_fields_renamed_total",
    "kinetail_buffer_size_bytes",
    "kinetail_buffer_limit_bytes",
    "kinetail_buffers_limit_bytes",
    "kinetail_buffer_records",
    "kinetail_buffer_chunks",
    "kinetail_buffer_oldest_seconds",
    "kinetail_buffer_dropped_records_total",
    "kinetail_buffer_dropped_bytes_total",
    "kinetail_disk_free_bytes",
    "kinetail_disk_min_free_bytes",
    "kinetail_sync_duration_seconds",
    "kinetail_sync_failures_total",
    "kinetail_checkpoints_total",
    "kinetail_frames_total",
    "kinetail_repairs_total",
    "kinetail_repairs_impossible_total",
    "kinetail_delivered_records_total",
    "kinetail_delivered_bytes_total",
    "kinetail_requests_total",
    "kinetail_request_duration_seconds",
    "kinetail_request_fill_ratio",
    "kinetail_requests_in_flight",
    "kinetail_requests_allowed",
    "kinetail_learned_rate_bytes_per_second",
    "kinetail_destination_rate_limit_bytes_per_second",
    "kinetail_destination_rate_limit_entries_per_second",
    "kinetail_destination_rate_limit_requests_per_second",
    "kinetail_delivered_entries_total",
    "kinetail_service_errors_total",
    "kinetail_retried_records_total",
    "kinetail_throttled_entries_total",
    "kinetail_failed_entries_total",
    "kinetail_refused_records_total",
    "kinetail_billed_units_total",
    "kinetail_billed_on_demand_bytes_total",
    "kinetail_partition_key_fallbacks_total",
    "kinetail_shard_entries_total",
    "kinetail_shard_bytes_total",
    "kinetail_shard_throttled_entries_total",
    "kinetail_destination_healthy",
    "kinetail_dead_letters_total",
    "kinetail_dead_letters_dropped_total",
    "kinetail_dead_letters_size_bytes",
    "kinetail_config_reloads_total",
    "kinetail_config_last_reload_successful",
    "kinetail_config_loaded_timestamp_seconds",
    "kinetail_config_restart_needed",
    "kinetail_cloudwatch_requests_total",
    "kinetail_cloudwatch_metrics_total",
    "kinetail_build_info",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_these_names_and_no_others() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let page = std::fs::read_to_string(page).unwrap();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        assert_eq!(rows.map(|(name, _)| name).collect::<Vec<_>>(), NAMES);
    }
}
