//! Quotas on what is done in Redis: what was used and the hosts' allowances, beside the tenant's
//! facts. One script counts and gives, so that hosts that ask at once cannot get the same.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::pool::{Effect, Size};
use super::replies::one;
use super::{Redis, scripts};
use crate::{Draw, Drawn, Draws, QuotaStorage, Rate, StorageError, TenantId};

/// Numbers in the reply for each rate.
const OF_RATE: usize = 6;

#[async_trait]
impl QuotaStorage for Redis {
    async fn draw(
        &self,
        tenant: &TenantId,
        draws: &[Draw; Rate::ALL.len()],
        time: Duration,
        deadline: Instant,
    ) -> Result<Draws, StorageError> {
        let keys = self.keys(tenant);
        let mut call = scripts::DRAW.call(&[keys.used(), keys.allowances()]);
        call.arg(self.appends.writer()).arg(time.as_millis().max(1) as u64);
        for draw in draws {
            match draw.allowed {
                Some(allowed) => call.arg(allowed),
                None => call.arg(""),
            };
            call.arg(draw.used).arg(draw.counted).arg(draw.kept).arg(draw.needed).arg(draw.wanted);
        }
        let kind = (Size::Small, Effect::Write);
        let replies = self.run_script(&scripts::DRAW, vec![call], kind, deadline).await?;
        let numbers: Vec<u64> = one(replies)?;
        parse(&numbers).ok_or_else(|| StorageError::Corrupt("an incomplete allowance".into()))
    }
}

fn parse(numbers: &[u64]) -> Option<Draws> {
    let (&hosts, numbers) = numbers.split_first()?;
    let mut draws = Draws { hosts, ..Draws::default() };
    for (rate, numbers) in draws.rates.iter_mut().zip(numbers.chunks(OF_RATE)) {
        let &[granted, used, held, after, is_ahead, is_plenty] = numbers else { return None };
        let (after, is_ahead, is_plenty) =
            (Duration::from_millis(after), is_ahead == 1, is_plenty == 1);
        *rate = Drawn { granted, used, held, after, is_ahead, is_plenty };
    }
    (numbers.len() == OF_RATE * draws.rates.len()).then_some(draws)
}
