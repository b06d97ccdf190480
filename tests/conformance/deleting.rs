//! Deleting facts.

use kenning_storage::Condition;

use crate::backends::Backend;
use crate::tools::*;

pub(crate) async fn a_deleted_fact_is_gone_with_all_that_belongs_to_it(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let revisions = put(&*storage, &[("f", 1), ("other", 2)]).await;
    put_vector(&*storage, "f", revisions[0], 1.0).await;
    write_one(&*storage, present("f", &[("x", "y")])).await.unwrap();
    assert!(delete(&*storage, "f").await.is_some());
    assert_eq!(get(&*storage, "f").await, None);
    assert_eq!(list(&*storage).await, ["other"]);
    assert_eq!(pending(&*storage).await, [("other".to_owned(), revisions[1])]);
    assert_eq!(read_vector(&*storage, "f").await, None);
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(1));
}

pub(crate) async fn deleting_an_absent_fact_does_nothing(backend: &mut impl Backend) {
    let storage = backend.open().await;
    assert_eq!(delete(&*storage, "f").await, None);
    put(&*storage, &[("f", 1)]).await;
    assert!(delete(&*storage, "f").await.is_some());
    assert_eq!(delete(&*storage, "f").await, None);
    assert_eq!(storage.count(&default_tenant(), later()).await, Ok(0));
}

pub(crate) async fn a_deleted_fact_can_be_written_again(backend: &mut impl Backend) {
    let storage = backend.open().await;
    let old = [("content", "old"), ("gone", "1")];
    write_one(&*storage, write("f", &old, Condition::Absent, 9)).await.unwrap();
    put(&*storage, &[("other", 5)]).await;
    delete(&*storage, "f").await.unwrap();
    let new = [("content", "new")];
    write_one(&*storage, write("f", &new, Condition::Absent, 1)).await.unwrap();
    assert_eq!(get(&*storage, "f").await, Some(hash(&new)));
    assert_eq!(list(&*storage).await, ["other", "f"]);
}
