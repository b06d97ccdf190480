//! What a thread of the local embedder does: one forward pass after the other, and passes of
//! earlier lanes in the middle of those of later ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use super::queue::{Pass, Queue};
use super::{EmbedError, Vector};

/// The maximum of texts in one forward pass; their bytes are bounded by the queue.
const BATCH_TEXTS: usize = 32;

/// Embeds texts, and calls the function that it is given now and then meanwhile.
pub(super) type Embed<'e> =
    &'e dyn Fn(&[&str], &mut dyn FnMut()) -> Result<Vec<Vector>, EmbedError>;

/// Runs passes until the queue is closed.
pub(super) fn work(queue: &Queue, embed: Embed<'_>) {
    while let Some(pass) = queue.pop(BATCH_TEXTS) {
        run(queue, pass, embed);
    }
}

/// Runs a pass, and passes of earlier lanes while it lasts.
fn run(queue: &Queue, mut pass: Pass, embed: Embed<'_>) {
    let jobs = std::mem::take(&mut pass.jobs);
    let texts: Vec<&str> = jobs.iter().map(|job| job.text.as_str()).collect();
    let begun = Instant::now();
    let mut of_others = Duration::ZERO;
    let mut pause = || {
        if let Some(urgent) = queue.pop_before(&mut pass, BATCH_TEXTS) {
            let paused = Instant::now();
            run(queue, urgent, embed);
            of_others += paused.elapsed();
        }
    };
    let computed = catch_unwind(AssertUnwindSafe(|| embed(&texts, &mut pause)));
    let own = begun.elapsed().saturating_sub(of_others);
    metrics::histogram!("kenning_embedding_seconds").record(own.as_secs_f64());
    metrics::counter!("kenning_embedded_texts_total").increment(jobs.len() as u64);
    let failed = |_| Err(EmbedError::Unavailable("the embedder failed on this text".into()));
    match computed.unwrap_or_else(failed) {
        Ok(vectors) => {
            jobs.into_iter().zip(vectors).for_each(|(job, vector)| job.finish(Ok(vector)));
        }
        Err(error) => jobs.into_iter().for_each(|job| job.finish(Err(error.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use kenning_storage::TenantId;
    use tokio::sync::oneshot::Receiver;

    use super::super::Lane;
    use super::*;

    type Answer = Receiver<Result<Vector, EmbedError>>;

    fn push(queue: &Queue, tenant: &str, text: &str, lane: Lane) -> Answer {
        let tenant = TenantId::parse(tenant).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let pushed = queue.push(&tenant, text.into(), lane, until).now_or_never();
        pushed.expect("there is room").unwrap()
    }

    /// Runs passes until all that was pushed is embedded, with an embedder that pauses four times
    /// in each. At the first pause of a text, `arrives` may push others. Returns the texts in the
    /// order in which they were done.
    fn order(queue: &Arc<Queue>, passes: usize, arrives: &dyn Fn(&str)) -> Vec<String> {
        let done = Mutex::new(Vec::new());
        let embed = |texts: &[&str], pause: &mut dyn FnMut()| {
            texts.iter().for_each(|text| arrives(text));
            (0..4).for_each(|_| pause());
            done.lock().unwrap().extend(texts.iter().map(ToString::to_string));
            Ok(texts.iter().map(|_| Vector::from([1.0])).collect())
        };
        for _ in 0..passes {
            run(queue, queue.pop(1).unwrap(), &embed);
        }
        done.into_inner().unwrap()
    }

    #[tokio::test]
    async fn a_query_is_embedded_in_the_middle_of_a_pass_of_another_tenant() {
        let queue = Arc::new(Queue::new(1));
        let _long = push(&queue, "one", "a long text", Lane::Document);
        let answer = Mutex::new(None);
        let order = order(&queue, 1, &|text| {
            if text == "a long text" {
                *answer.lock().unwrap() = Some(push(&queue, "other", "query", Lane::Query));
            }
        });
        assert_eq!(order, ["query", "a long text"]);
        let mut answer = answer.into_inner().unwrap().unwrap();
        assert_eq!(answer.try_recv().unwrap(), Ok(Vector::from([1.0])));
    }

    #[tokio::test]
    async fn a_store_and_then_a_query_are_embedded_in_the_middle_of_background_work() {
        let queue = Arc::new(Queue::new(1));
        let answers = Mutex::new(vec![push(&queue, "one", "pending", Lane::Background)]);
        let order = order(&queue, 1, &|text| {
            let (tenant, text, lane) = match text {
                "pending" => ("other", "store", Lane::Document),
                "store" => ("third", "query", Lane::Query),
                _ => return,
            };
            answers.lock().unwrap().push(push(&queue, tenant, text, lane));
        });
        assert_eq!(order, ["query", "store", "pending"]);
    }

    #[tokio::test]
    async fn a_pass_waits_for_a_few_queries_and_not_for_queries_without_end() {
        let queue = Arc::new(Queue::new(8));
        let answers = Mutex::new(vec![push(&queue, "one", "store", Lane::Document)]);
        let order = order(&queue, 1, &|text| {
            let again = if text == "store" { 9 } else { 1 };
            for _ in 0..again {
                answers.lock().unwrap().push(push(&queue, "other", "query", Lane::Query));
            }
        });
        // Each of these texts counts for as much.
        assert_eq!(order.iter().position(|text| text == "store"), Some(3));
    }

    #[tokio::test]
    async fn texts_of_the_same_lane_do_not_interrupt_one_another() {
        let queue = Arc::new(Queue::new(1));
        let answers = Mutex::new(vec![push(&queue, "one", "first", Lane::Query)]);
        let order = order(&queue, 2, &|text| {
            if text == "first" {
                answers.lock().unwrap().push(push(&queue, "other", "second", Lane::Query));
            }
        });
        assert_eq!(order, ["first", "second"]);
    }

    #[tokio::test]
    async fn a_panic_fails_its_own_pass_and_no_other() {
        let queue = Arc::new(Queue::new(1));
        let mut bad = push(&queue, "one", "bad", Lane::Document);
        let mut good = push(&queue, "other", "good", Lane::Query);
        let embed = |texts: &[&str], pause: &mut dyn FnMut()| {
            pause();
            assert_ne!(texts, ["bad"], "the embedder panics");
            Ok(vec![Vector::from([1.0])])
        };
        // One pass in four begins with the stores.
        for _ in 0..2 {
            run(&queue, queue.pop(1).unwrap(), &embed);
        }
        assert!(matches!(bad.try_recv().unwrap(), Err(EmbedError::Unavailable(_))));
        assert!(good.try_recv().unwrap().is_ok());
    }
}
