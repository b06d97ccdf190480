//! One suite for every backend: embedded, and a real Redis in both layouts, in every form and in
//! every release that is supported. It asserts what the traits behind `kenning_storage::Storage`
//! promise.

mod backends;
mod changes;
mod changes_redis;
mod copying;
mod deleting;
mod documents;
mod durability;
mod embedded_only;
mod flat_only;
mod paging;
mod quotas;
mod reading;
mod redis_forms;
mod redis_only;
mod registry;
mod state;
mod tenancy;
mod tls;
mod tools;
mod vectors;
mod writing;

/// Makes one test per name for a backend.
macro_rules! over_a_backend {
    ($name:ident, $backend:expr, $($module:ident::$test:ident,)*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&mut $backend).await;
            })*
        }
    };
}

/// Makes one test per name and backend, and one of all names for a cluster, which takes seconds to
/// start.
macro_rules! over_every_backend {
    ($($module:ident::$test:ident,)*) => {
        over_a_backend!(embedded, crate::backends::Embedded::new(), $($module::$test,)*);
        over_a_backend!(redis_tenant, crate::backends::Redis::tenant(), $($module::$test,)*);
        over_a_backend!(redis_flat, crate::backends::Redis::flat(), $($module::$test,)*);
        over_a_backend!(redis_socket, crate::backends::Redis::over_a_socket(), $($module::$test,)*);
        over_a_backend!(redis_tls, crate::backends::Redis::over_tls(), $($module::$test,)*);
        over_a_backend!(
            redis_6_2,
            crate::backends::Redis::release(kenning_storage::testing::Release::Redis62),
            $($module::$test,)*
        );
        over_a_backend!(
            valkey_9,
            crate::backends::Redis::release(kenning_storage::testing::Release::Valkey9),
            $($module::$test,)*
        );
        async fn over_a_cluster(release: kenning_storage::testing::Release) {
            use kenning_storage::testing::RedisCluster;
            let nodes = RedisCluster::start_with(release, 3, 0, &[]);
            let mut cluster = crate::backends::Cluster(nodes);
            $(
                println!("{} on a cluster of {release}", stringify!($test));
                cluster.0.flush();
                crate::$module::$test(&mut cluster).await;
            )*
        }
    };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_holds_on_a_cluster() {
    over_a_cluster(kenning_storage::testing::Release::Redis7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_holds_on_a_cluster_of_redis_6_2() {
    over_a_cluster(kenning_storage::testing::Release::Redis62).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_holds_on_a_cluster_of_valkey() {
    over_a_cluster(kenning_storage::testing::Release::Valkey9).await;
}

over_every_backend! {
    writing::a_written_fact_is_read_with_exactly_its_fields,
    writing::a_write_if_absent_happens_once,
    writing::a_write_if_present_needs_the_fact,
    writing::a_write_that_expects_fields_happens_only_if_they_are_so,
    writing::a_write_if_present_keeps_other_fields_and_the_position,
    writing::of_two_fields_with_one_name_the_later_wins,
    writing::a_write_without_fields_never_happens,
    writing::a_failed_condition_does_not_stop_the_others_of_its_batch,
    writing::revisions_grow_with_each_write_and_deletion,
    writing::of_concurrent_writers_of_one_id_exactly_one_wins_whole,
    writing::concurrent_writers_get_distinct_revisions,
    writing::many_fields_are_one_write,
    writing::any_text_is_read_as_it_was_written,
    writing::batch_size_obeyed,
    writing::batch_size_violated,
    writing::an_operation_past_its_deadline_does_not_start,
    reading::hashes_come_in_the_order_of_ids,
    reading::empty_batches_succeed,
    reading::read_bytes_obeyed,
    reading::read_bytes_violated,
    reading::a_result_is_cut_after_the_last_hash_that_fits,
    reading::an_absent_fact_counts_no_bytes,
    paging::the_newest_come_first,
    paging::equal_orders_are_listed_once_each_and_by_id,
    paging::the_last_page_has_no_cursor,
    paging::page_size_is_clamped,
    paging::an_empty_tenant_has_one_empty_page,
    paging::facts_that_stay_are_listed_once_while_others_come_and_go,
    paging::a_cursor_outlives_the_fact_it_names,
    paging::a_cursor_outlives_the_move_of_the_fact_it_names,
    paging::a_cursor_from_elsewhere_is_refused,
    paging::an_order_above_the_largest_is_capped,
    deleting::a_deleted_fact_is_gone_with_all_that_belongs_to_it,
    deleting::deleting_an_absent_fact_does_nothing,
    deleting::a_deleted_fact_can_be_written_again,
    registry::a_caller_who_goes_by_what_is_in_force_is_served,
    quotas::what_is_needed_is_given_up_to_the_quota,
    tenancy::tenants_do_not_see_each_other,
    tenancy::similar_names_do_not_collide,
    tenancy::a_tenant_is_listed_from_its_first_fact,
    tenancy::facts_are_counted_by_tenant,
    tenancy::a_deleted_tenant_is_gone_and_starts_afresh,
    tenancy::a_large_tenant_is_deleted_in_steps,
    tenancy::bytes_are_counted_with_every_change,
    tenancy::quota_of_facts_obeyed_and_violated,
    tenancy::quota_of_bytes_obeyed_and_violated,
    tenancy::concurrent_writers_do_not_exceed_the_quota_together,
    documents::a_document_is_read_as_it_was_written,
    documents::a_document_is_written_only_over_the_expected_version,
    documents::a_version_is_never_reused,
    documents::of_concurrent_writers_of_one_version_exactly_one_wins,
    documents::documents_are_listed_by_prefix,
    documents::the_revision_grows_with_changes_only,
    documents::document_bytes_obeyed_and_violated,
    documents::a_document_being_replaced_is_read_as_old_or_new_never_mixed,
    documents::documents_survive_closing_and_opening,
    vectors::each_written_fact_is_pending_with_its_newest_revision,
    vectors::a_vector_of_the_newest_revision_clears_the_mark,
    vectors::a_vector_of_an_older_revision_does_not_clear_the_mark,
    vectors::an_older_vector_never_replaces_a_newer,
    vectors::the_vectors_of_many_windows_are_kept_as_they_are_and_replaced_as_one,
    vectors::a_vector_of_a_deleted_fact_is_not_kept,
    vectors::a_vector_of_an_earlier_fact_of_that_id_is_not_read,
    vectors::a_fact_marked_pending_gets_a_newer_revision,
    vectors::vectors_are_read_in_the_order_of_ids,
    vectors::pending_facts_are_listed_by_revision_in_pages,
    vectors::vector_batch_size_violated,
    changes::every_change_is_in_the_stream_at_its_revision,
    changes::concurrent_writers_leave_no_hole_in_the_stream,
    changes::a_reader_of_a_stream_that_was_cut_is_told_what_is_missing,
    changes::changes_are_dropped_when_they_are_old,
    changes::a_reader_is_woken_by_the_changes_of_any_of_its_tenants,
    changes::a_reader_waits_no_longer_than_it_says,
    changes::deleting_a_tenant_deletes_its_stream,
    changes::a_stream_goes_on_after_closing_and_opening,
    state::state_has_keys_of_any_bytes_in_their_order,
    state::state_is_set_if_it_has_the_expected_version,
    state::numbers_in_state_have_64_bits,
    state::state_expires_and_makes_room,
    state::state_is_bounded_in_keys_and_bytes,
    state::spaces_are_apart_and_deleted_each_and_with_their_tenant,
    copying::what_extensions_keep_is_copied_and_comes_back,
    copying::how_far_an_extension_was_told_comes_back_as_what_it_means,
    durability::acknowledged_writes_survive_a_crash,
    durability::everything_survives_closing_and_opening,
    durability::a_closed_storage_is_unavailable,
    durability::a_storage_answers_pings_and_describes_itself,
}
