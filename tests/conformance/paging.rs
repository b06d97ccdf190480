//! Listings and their cursors.

use kenning_storage::StorageError;

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn the_newest_come_first(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("b", 20), ("c", 5), ("a", 100), ("d", 1_700_000_000_000_001)]).await;
    assert_eq!(list(&*storage).await, ["d", "a", "b", "c"]);
}

pub(crate) async fn equal_orders_are_listed_once_each_and_by_id(backend: &mut impl Backend) {
    let storage = backend.open().await;
    // Ids are compared by bytes, whatever the locale: upper case, '_', lower case, and a prefix
    // before longer ids.
    let names = ["B", "_", "a", "a-", "a.", "a0", "aa", "b"];
    let same: Vec<(&str, u64)> = names.iter().map(|name| (*name, 7)).collect();
    put(&*storage, &same).await;
    put(&*storage, &[("newer", 8), ("older", 6)]).await;
    let mut expected = vec!["newer"];
    expected.extend(names.iter().rev());
    expected.push("older");
    for limit in 1..=expected.len() + 1 {
        assert_eq!(list_from(&*storage, None, limit).await, expected, "pages of {limit}");
    }
}

pub(crate) async fn the_last_page_has_no_cursor(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2)]).await;
    let page = async |limit| storage.page(&default_tenant(), None, limit, later()).await.unwrap();
    assert!(page(1).await.cursor.is_some());
    assert!(page(2).await.cursor.is_none());
    assert!(page(3).await.cursor.is_none());
}

pub(crate) async fn page_size_is_clamped(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let names: Vec<String> = (0..1_001).map(|n| format!("f{n}")).collect();
    let facts: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    put(&*storage, &facts).await;
    let page = async |limit| storage.page(&default_tenant(), None, limit, later()).await.unwrap();
    assert_eq!(page(0).await.ids.len(), 1);
    assert_eq!(page(usize::MAX).await.ids.len(), 1_000);
    assert!(page(usize::MAX).await.cursor.is_some());
}

pub(crate) async fn an_empty_tenant_has_one_empty_page(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let page = storage.page(&tenant("nobody"), None, 10, later()).await.unwrap();
    assert!(page.ids.is_empty() && page.cursor.is_none());
}

pub(crate) async fn facts_that_stay_are_listed_once_while_others_come_and_go(
    backend: &mut impl Backend,
) {
    let storage = backend.open().await;
    let stay: Vec<String> = (0..40).map(|n| format!("stay-{n:02}")).collect();
    let go: Vec<String> = (0..40).map(|n| format!("go-{n:02}")).collect();
    for n in 0..40 {
        // Groups of four share an order, two that stay and two that go.
        put(&*storage, &[(&stay[n], n as u64 / 2), (&go[n], n as u64 / 2)]).await;
    }
    let mut listed = Vec::new();
    let mut cursor = None;
    for round in 0.. {
        let page = storage.page(&default_tenant(), cursor.as_deref(), 3, later()).await.unwrap();
        listed.extend(page.ids.iter().map(|id| id.as_str().to_owned()));
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
        let gone = &go[(round * 7) % 40];
        delete(&*storage, gone).await;
        put(&*storage, &[(&format!("new-{round}"), (round as u64 * 5) % 20)]).await;
    }
    let mut stayed: Vec<_> = listed.iter().filter(|id| id.starts_with("stay")).collect();
    assert_eq!(stayed.len(), 40, "{stayed:?}");
    stayed.sort();
    stayed.dedup();
    assert_eq!(stayed.len(), 40, "listed twice");
}

pub(crate) async fn a_cursor_outlives_the_fact_it_names(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 7), ("b", 7), ("c", 7), ("d", 7), ("older", 1)]).await;
    let first = storage.page(&default_tenant(), None, 2, later()).await.unwrap();
    assert_eq!(first.ids, ids(&["d", "c"]));
    delete(&*storage, "c").await.unwrap();
    delete(&*storage, "d").await.unwrap();
    assert_eq!(list_from(&*storage, first.cursor, 1).await, ["b", "a", "older"]);
}

pub(crate) async fn a_cursor_outlives_the_move_of_the_fact_it_names(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]).await;
    let first = storage.page(&default_tenant(), None, 2, later()).await.unwrap();
    assert_eq!(first.ids, ids(&["d", "c"]));
    delete(&*storage, "c").await.unwrap();
    put(&*storage, &[("c", 9)]).await;
    assert_eq!(list_from(&*storage, first.cursor, 10).await, ["b", "a"]);
}

pub(crate) async fn a_cursor_from_elsewhere_is_refused(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", 1)]).await;
    for cursor in ["", "x", "%%%", "AAAA", "AgAAAAAAAAABYQ"] {
        let page = storage.page(&default_tenant(), Some(cursor), 10, later()).await;
        assert_eq!(page, Err(StorageError::InvalidCursor), "{cursor:?}");
    }
}

pub(crate) async fn an_order_above_the_largest_is_capped(backend: &mut impl Backend) {
    let storage = backend.open().await;
    put(&*storage, &[("a", u64::MAX), ("b", 1 << 53), ("c", (1 << 53) - 1), ("d", 1 << 52)]).await;
    assert_eq!(list_from(&*storage, None, 1).await, ["c", "b", "a", "d"]);
}
