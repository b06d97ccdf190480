use futures::FutureExt;
use kenning_index::Entry;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn fill(index: &TenantIndex, facts: usize) {
    for number in 0..facts {
        let (id, text) = (number.to_string(), "filler ".repeat(50));
        let entry = Entry { id: &id, revision: 1, text: &text, metadata: "{}", vector: None };
        index.upsert(&entry).unwrap();
    }
}

fn ready(held: &HeldIndexes, name: &str, facts: usize) -> Growth {
    let tenant = tenant(name);
    let index = held.open(&tenant);
    let (loading, taken) = held.next_to_load().now_or_never().unwrap();
    assert!(loading == tenant && Arc::ptr_eq(&index, &taken));
    fill(&index, facts);
    let growth = held.measure(&tenant, &index);
    held.complete(&tenant, &index, Revision(7));
    growth
}

fn limits(index_bytes: usize) -> Limits {
    Limits { index_bytes, ..Limits::default() }
}

#[tokio::test]
async fn the_least_recently_used_index_is_dropped_for_another_that_needs_room() {
    let held = HeldIndexes::new(&limits(usize::MAX));
    ready(&held, "a", 200);
    let one = held.bytes();
    let held = HeldIndexes::new(&limits(one * 5 / 2));
    ready(&held, "a", 200);
    ready(&held, "b", 200);
    std::thread::sleep(Duration::from_millis(5));
    held.open(&tenant("a"));
    assert_eq!(ready(&held, "c", 200), Growth::Granted);
    assert!(held.state(&tenant("b")).is_none() && held.state(&tenant("a")).is_some());
    assert_eq!(held.applied().position(&tenant("b")), None);
    assert!(held.bytes() <= one * 5 / 2, "{} of {}", held.bytes(), one * 5 / 2);
    let figures = held.figures();
    assert_eq!((figures.ready, figures.loads, figures.drops), (2, 3, 1));
}

#[tokio::test]
async fn an_index_in_use_is_not_dropped() {
    const BUDGET: usize = 1_000_000;
    let held = HeldIndexes::new(&limits(BUDGET));
    ready(&held, "a", 10);
    let index = held.open(&tenant("a"));
    assert!(!held.make_room(BUDGET));
    assert!(held.holds(&tenant("a"), &index));
    drop(index);
    assert!(held.make_room(BUDGET));
    assert!(held.state(&tenant("a")).is_none());
}

#[tokio::test]
async fn an_index_beyond_its_limit_is_refused_and_takes_no_memory() {
    let held = HeldIndexes::new(&limits(10_000));
    assert_eq!(ready(&held, "a", 200), Growth::NotHeld);
    let refusal = held.open(&tenant("a")).refusal().unwrap();
    assert_eq!((refusal.limit, refusal.allowed, refusal.facts), ("index_bytes", 10_000, 200));
    assert!(refusal.used > 10_000 && held.bytes() == 0);
    assert!(held.existing(&tenant("a")).is_none());
    assert_eq!(held.refused(), [(tenant("a"), 200)]);
}

#[tokio::test]
async fn whoever_waits_for_an_index_that_is_dropped_is_woken() {
    let held = HeldIndexes::new(&Limits::default());
    let index = held.open(&tenant("a"));
    let mut waiting = index.settled(Instant::now() + Duration::from_secs(3_600)).boxed();
    assert!((&mut waiting).now_or_never().is_none());
    held.drop_index(&tenant("a"));
    assert_eq!(waiting.await, Progress::Dropped);
    assert!(!held.holds(&tenant("a"), &index));
}

#[tokio::test]
async fn of_indexes_that_wait_for_each_others_room_the_first_goes_on() {
    let held = HeldIndexes::new(&limits(usize::MAX));
    ready(&held, "a", 50);
    let held = HeldIndexes::new(&limits(held.bytes() * 3 / 2));
    let [first, second, third] = ["a", "b", "c"].map(|name| held.open(&tenant(name)));
    fill(&first, 50);
    fill(&second, 50);
    assert_eq!(held.measure(&tenant("a"), &first), Growth::Granted);
    assert_eq!(held.measure(&tenant("b"), &second), Growth::Later);
    assert!(!held.is_first_to_load(&second));
    assert!(held.is_first_to_load(&first));
    assert_eq!(second.progress(), Progress::Dropped);
    assert_eq!(first.progress(), Progress::Loading);
    assert_eq!(third.progress(), Progress::Loading, "it has no room to give");
    assert!(held.is_first_to_load(&first) && third.progress() == Progress::Loading);
}

#[tokio::test]
async fn an_index_that_was_dropped_takes_nobodys_room() {
    let held = HeldIndexes::new(&limits(usize::MAX));
    ready(&held, "a", 50);
    let held = HeldIndexes::new(&limits(held.bytes() * 3 / 2));
    ready(&held, "a", 50);
    let dropped = held.open(&tenant("b"));
    held.drop_index(&tenant("b"));
    fill(&dropped, 50);
    assert_eq!(held.measure(&tenant("b"), &dropped), Growth::NotHeld);
    held.note_written(&tenant("b"), &dropped, 1_000);
    assert!(held.state(&tenant("a")).is_some());
}

#[tokio::test]
async fn what_could_not_be_dropped_while_it_was_used_is_dropped_later() {
    let held = HeldIndexes::new(&limits(usize::MAX));
    ready(&held, "a", 50);
    let one = held.bytes();
    let held = HeldIndexes::new(&limits(one * 3 / 2));
    ready(&held, "a", 50);
    let used = held.open(&tenant("a"));
    assert_eq!(ready(&held, "b", 50), Growth::Later);
    drop(used);
    held.measure_written();
    assert!(held.bytes() <= one * 3 / 2 && held.tenants().len() == 1);
}

#[tokio::test]
async fn an_index_that_may_have_missed_vectors_is_loaded_again() {
    let held = HeldIndexes::new(&Limits::default());
    ready(&held, "a", 3);
    let index = held.open(&tenant("a"));
    held.reload_other(&tenant("a"), Some(&index));
    assert!(held.holds(&tenant("a"), &index) && held.next_to_load().now_or_never().is_none());
    held.reload_other(&tenant("a"), None);
    assert_eq!((index.progress(), held.bytes()), (Progress::Dropped, 0));
    let (_, next) = held.next_to_load().now_or_never().unwrap();
    assert!(held.holds(&tenant("a"), &next));
    held.reload_other(&tenant("b"), None);
    assert!(held.state(&tenant("b")).is_none(), "nobody uses it");
}

#[tokio::test]
async fn whoever_waits_for_an_index_that_is_loaded_again_gets_the_new_one() {
    let held = HeldIndexes::new(&Limits::default());
    let first = held.open(&tenant("a"));
    let deadline = Instant::now() + Duration::from_secs(3_600);
    let name = tenant("a");
    let waiting = held.loaded(&name, deadline);
    let load = async {
        held.reload_other(&tenant("a"), None);
        let next = held.open(&tenant("a"));
        held.complete(&tenant("a"), &next, Revision(1));
    };
    let (loaded, ()) = tokio::join!(waiting, load);
    assert!(loaded.is_ready() && !Arc::ptr_eq(&loaded, &first));
}
