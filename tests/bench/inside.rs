//! A knowledge base in this process, as the server has one.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use fastrand::Rng;
use kenning::config::{Config, Settings};
use kenning::kb::{Caller, Kb};
use kenning::serve;
use kenning::tasks::follow_registry::follow_registry;
use kenning::tasks::indexer;
use kenning_embedder::EmbedderChoice;
use kenning_runtime::tenant_indexes::WarmUp;
use kenning_runtime::wit;
use kenning_storage::TenantId;
use kenning_tests::RedisServer;
use tokio::runtime::Runtime;

use crate::place::{Backend, Place};
use crate::texts::{Texts, metadata};

/// Facts stored at once.
const BATCH: usize = 100;

pub(crate) struct Inside {
    pub(crate) kb: Arc<Kb>,
    pub(crate) server: Runtime,
    _place: Place,
}

impl Inside {
    pub(crate) fn new(backend: Backend) -> Result<Self> {
        let place = Place::new(backend)?;
        let settings = Settings {
            storage: place.redis().map(RedisServer::url),
            data_dir: place.setup("hash").data_dir,
            ..Settings::default()
        };
        let config = Config { embedder: EmbedderChoice::Hash, ..Config::load(settings, None)? };
        let server = Runtime::new()?;
        let host = "bench".to_owned();
        let kb = Arc::new(server.block_on(serve::knowledge_base(&config, host.clone()))?);
        server.block_on(async {
            // The guests on record are loaded there, for which the indexer waits.
            tokio::spawn(follow_registry(kb.registry().clone(), host));
            indexer::start(kb.clone());
            let mut warm_up = kb.services().indexes.warm_up();
            warm_up.wait_for(|now| *now == WarmUp::Over).await.map(drop)
        })?;
        Ok(Self { kb, server, _place: place })
    }

    /// Stores so many facts and gives their ids.
    pub(crate) fn fill(
        &self,
        tenant: &TenantId,
        count: usize,
        texts: &Texts,
    ) -> Result<Vec<String>> {
        let (mut random, mut ids) = (Rng::with_seed(1), Vec::new());
        while ids.len() < count {
            let draft = |random: &mut Rng| draft(texts.fact(random), metadata(random).to_string());
            let drafts = (0..BATCH).map(|_| Ok(draft(&mut random).into())).collect();
            let stored = self.server.block_on(self.kb.store(&self.caller(tenant), drafts));
            for outcome in stored.map_err(|error| anyhow!(error.message))?.value {
                ids.extend(outcome.map_err(|error| anyhow!(error.message))?.ids);
            }
        }
        Ok(ids)
    }

    pub(crate) fn caller(&self, tenant: &TenantId) -> Caller {
        Caller::within(tenant.clone(), self.kb.services().limits.call)
    }

    pub(crate) fn close(self) {
        self.server.block_on(self.kb.services().storage.close());
    }
}

pub(crate) fn draft(text: String, metadata: String) -> wit::Draft {
    wit::Draft { id: None, text, metadata, timestamp: None }
}

pub(crate) fn query(text: String, top_k: u32) -> wit::Query {
    let (mode, fusion) = (wit::Mode::Hybrid, wit::Fusion::Score);
    wit::Query { text, top_k, mode, fusion, filter: None, explain: false }
}
