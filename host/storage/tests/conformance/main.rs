//! One suite over every backend: embedded, and a real Redis in both layouts. What it asserts is
//! the contract of `kenning_storage::Storage`.

mod backends;
mod deleting;
mod documents;
mod durability;
mod embedded_only;
mod flat_only;
mod paging;
mod reading;
mod redis_only;
mod tenancy;
mod tools;
mod vectors;
mod writing;

/// Makes one test of each name for each backend.
macro_rules! over_every_backend {
    ($($module:ident::$test:ident,)*) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&mut crate::backends::Embedded::new()).await;
            })*
        }
        mod redis_tenant {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&mut crate::backends::RedisTenant::new()).await;
            })*
        }
        mod redis_flat {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test(&mut crate::backends::RedisFlat::new()).await;
            })*
        }
    };
}

over_every_backend! {
    writing::a_written_fact_is_read_with_exactly_its_fields,
    writing::a_write_if_absent_happens_once,
    writing::a_write_if_present_needs_the_fact,
    writing::a_write_if_present_leaves_other_fields_and_the_place,
    writing::of_two_fields_with_one_name_the_later_counts,
    writing::a_write_without_fields_never_happens,
    writing::a_failed_condition_does_not_stop_the_others_of_its_batch,
    writing::revisions_grow_with_each_write_and_delete,
    writing::of_concurrent_writers_of_one_id_exactly_one_wins_whole,
    writing::concurrent_writers_get_distinct_revisions,
    writing::many_fields_are_one_write,
    writing::any_text_survives,
    writing::batch_size_obeyed,
    writing::batch_size_violated,
    writing::what_is_late_already_does_not_begin,
    reading::hashes_come_in_the_order_of_ids,
    reading::nothing_is_read_of_nothing,
    reading::read_bytes_obeyed,
    reading::read_bytes_violated,
    reading::an_answer_is_cut_after_the_last_hash_that_fits,
    reading::an_absent_fact_costs_no_bytes,
    paging::the_newest_come_first,
    paging::equal_orders_are_listed_once_each_and_by_id,
    paging::the_last_page_has_no_cursor,
    paging::page_size_is_kept_within_its_bounds,
    paging::an_empty_tenant_has_one_empty_page,
    paging::what_stays_is_listed_once_while_others_come_and_go,
    paging::a_cursor_outlives_the_fact_it_names,
    paging::a_cursor_outlives_the_move_of_the_fact_it_names,
    paging::a_foreign_cursor_is_refused,
    paging::an_order_beyond_what_is_exact_counts_as_the_largest,
    deleting::a_deleted_fact_is_gone_with_all_that_belongs_to_it,
    deleting::deleting_what_is_not_there_does_nothing,
    deleting::a_deleted_fact_can_be_written_anew,
    tenancy::tenants_do_not_see_each_other,
    tenancy::names_that_look_alike_do_not_meet,
    tenancy::a_tenant_is_known_from_its_first_fact,
    tenancy::facts_are_counted_by_tenant,
    tenancy::bytes_are_counted_with_every_change,
    tenancy::room_for_facts_obeyed_and_violated,
    tenancy::room_for_bytes_obeyed_and_violated,
    tenancy::writers_at_once_do_not_get_past_the_room_together,
    tenancy::a_deleted_tenant_is_gone_and_begins_anew,
    tenancy::a_large_tenant_is_deleted_in_steps,
    documents::a_document_is_read_as_it_was_written,
    documents::a_document_is_written_only_over_the_expected_version,
    documents::a_version_is_never_used_again,
    documents::of_concurrent_writers_of_one_version_exactly_one_wins,
    documents::documents_are_listed_by_prefix,
    documents::the_revision_grows_with_every_change_and_only_then,
    documents::document_bytes_obeyed_and_violated,
    documents::a_document_that_is_replaced_is_read_old_or_new,
    documents::documents_survive_closing_and_opening,
    vectors::each_write_waits_for_a_vector_with_its_newest_revision,
    vectors::a_vector_of_the_newest_revision_ends_the_wait,
    vectors::a_vector_of_an_older_revision_does_not,
    vectors::an_older_vector_never_replaces_a_newer,
    vectors::a_vector_of_a_deleted_fact_is_not_kept,
    vectors::a_vector_of_an_earlier_fact_of_that_id_is_not_read,
    vectors::a_fact_marked_pending_waits_again_with_a_newer_revision,
    vectors::vectors_are_read_in_the_order_of_ids,
    vectors::waiting_facts_are_listed_by_revision_in_pages,
    vectors::vector_batch_size_violated,
    durability::what_was_acknowledged_survives_a_crash,
    durability::everything_survives_closing_and_opening,
    durability::a_closed_storage_says_so,
    durability::a_storage_that_answers_pings,
}
