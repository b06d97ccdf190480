//! The exports of guests as methods of a session: the logic's functions and the extensions' hooks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use kenning_bindings::self_test::SelfTestedPre;
use kenning_bindings::{DeletionRefusal, FactChange};
use kenning_storage::FactId;

use crate::call::Invocation;
use crate::component::linked::{LinkedExtension, PerEngine};
use crate::generation::Generation;
use crate::guest::Guest;
use crate::outcome::{CallEffects, GuestError};
use crate::session::Session;
use crate::state::State;
use crate::wit::{
    Answer, Change, Draft, Entry, Error, Fact, FactPage, Hit, Query, Ranked, Refusal, Stored,
};

/// Facts or hits that a component's own test may handle, for its fuel.
const SELF_TEST_ITEMS: usize = 1_000;

/// What a component's own test said.
type Tested = Result<Result<(), String>, GuestError>;

/// The logic's result and the effects of its call, or why it did not return.
pub type LogicResult<T> = Result<(Result<T, Error>, CallEffects), GuestError>;

impl Session {
    /// Stores drafts; gives one outcome for each, in their order.
    ///
    /// # Errors
    /// When the guest does not return, as for all functions here.
    pub async fn store(
        &mut self,
        logic: &Generation,
        drafts: Vec<Draft>,
    ) -> LogicResult<Vec<Result<Stored, Error>>> {
        let bytes = drafts.iter().map(|draft| draft.text.len() + draft.metadata.len()).sum();
        let invocation = self.invocation("store", bytes, drafts.len());
        let drafts = self.give_guest(drafts);
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move {
                logic.kenning_knowledge_facts().call_store_drafts(store, &drafts).await
            })
        })
        .await
    }

    /// Reads facts; `None` for an id that has none.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn get(
        &mut self,
        logic: &Generation,
        ids: Vec<String>,
    ) -> LogicResult<Vec<Option<Fact>>> {
        let invocation = self.invocation("get", 0, ids.len());
        let ids = self.give_guest(ids);
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move { logic.kenning_knowledge_facts().call_get(store, &ids).await })
        })
        .await
    }

    /// Reads one page of facts, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn list(
        &mut self,
        logic: &Generation,
        containing: Option<String>,
        limit: u32,
        cursor: Option<String>,
    ) -> LogicResult<FactPage> {
        // A substring is looked for in as many facts as the budget allows.
        let facts = if containing.is_some() { usize::MAX / 2 } else { limit as usize };
        let invocation = self.invocation("list", 0, facts);
        let input = self.give_guest((containing, limit, cursor));
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move {
                let (containing, limit, cursor) = &*input;
                logic
                    .kenning_knowledge_facts()
                    .call_list(store, containing.as_deref(), *limit, cursor.as_deref())
                    .await
            })
        })
        .await
    }

    /// Changes one fact.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn update(
        &mut self,
        logic: &Generation,
        id: String,
        change: Change,
    ) -> LogicResult<Stored> {
        let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
        let invocation =
            self.invocation("update", length(&change.text) + length(&change.metadata), 1);
        let input = self.give_guest((id, change));
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move {
                logic.kenning_knowledge_facts().call_update(store, &input.0, &input.1).await
            })
        })
        .await
    }

    /// Changes one fact, if storage still has it as `read`, which the change was made from. If not,
    /// nothing changes and the effects say [`CallEffects::unexpected`].
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn update_unchanged(
        &mut self,
        logic: &Generation,
        read: (FactId, kenning_storage::Hash),
        change: Change,
    ) -> LogicResult<Stored> {
        let id = read.0.to_string();
        self.context.expected = Some(read);
        let updated = self.update(logic, id, change).await;
        self.context.expected = None;
        updated
    }

    /// Deletes one fact.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn delete(&mut self, logic: &Generation, id: String) -> LogicResult<()> {
        let invocation = self.invocation("delete", 0, 1);
        let id = self.give_guest(id);
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move { logic.kenning_knowledge_facts().call_delete(store, &id).await })
        })
        .await
    }

    /// What the index is to hold of facts; `None` for an id that has none.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn entries(
        &mut self,
        logic: &Generation,
        ids: Vec<String>,
    ) -> LogicResult<Vec<Option<Entry>>> {
        let invocation = self.invocation("entries", 0, ids.len());
        let ids = self.give_guest(ids);
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(async move { logic.kenning_knowledge_facts().call_entries(store, &ids).await })
        })
        .await
    }

    /// Searches.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn search(&mut self, logic: &Generation, query: Query) -> LogicResult<Answer> {
        let invocation = self.invocation("search", query.text.len(), query.top_k as usize);
        let query = self.give_guest(query);
        self.run(&logic.guest, &logic.linked.logic, invocation, move |logic, store| {
            Box::pin(
                async move { logic.kenning_knowledge_search().call_search(store, &query).await },
            )
        })
        .await
    }

    /// The logic's own test; `None` if it brings none.
    pub async fn test_logic(&mut self, logic: &Generation) -> Option<Tested> {
        let pre = logic.linked.self_test.as_ref()?;
        let invocation = self.invocation("self-test", 0, SELF_TEST_ITEMS);
        Some(self.test(&logic.guest, pre, invocation).await)
    }

    async fn test(
        &mut self,
        guest: &Arc<Guest>,
        pre: &PerEngine<SelfTestedPre<State>>,
        invocation: Invocation,
    ) -> Tested {
        self.run(guest, pre, invocation, |tested, store| {
            Box::pin(async move { tested.kenning_proof_self_test().call_run(store).await })
        })
        .await
        .map(|(said, _)| said)
    }

    /// Only instantiates the logic: a guest that cannot start is never promoted.
    ///
    /// # Errors
    /// When it cannot start within its limits.
    pub async fn start_logic(&mut self, logic: &Generation) -> Result<(), GuestError> {
        let invocation = self.invocation("start", 0, 0);
        self.run(&logic.guest, &logic.linked.logic, invocation, |_, _| Box::pin(async { Ok(()) }))
            .await
            .map(drop)
    }

    fn invocation(&self, operation: &'static str, bytes: usize, items: usize) -> Invocation {
        let fuel = self.services().limits.fuel(bytes, items);
        Invocation { operation, fuel, input: None, bytes }
    }
}

/// An input that a hook's fuel depends on.
trait HookInput {
    /// Bytes of text and metadata.
    fn bytes(&self) -> usize;

    /// Facts, hits, drafts or queries.
    fn items(&self) -> usize;

    /// Hashes what a caller wrote; ids and times differ each time that the same is sent.
    fn hash_content(&self, hasher: &mut DefaultHasher);
}

impl HookInput for Draft {
    fn bytes(&self) -> usize {
        self.text.len() + self.metadata.len()
    }

    fn items(&self) -> usize {
        1
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        (&self.text, &self.metadata).hash(hasher);
    }
}

impl HookInput for Query {
    fn bytes(&self) -> usize {
        self.text.len()
    }

    fn items(&self) -> usize {
        1
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        (&self.text, &self.filter).hash(hasher);
    }
}

impl HookInput for Vec<Fact> {
    fn bytes(&self) -> usize {
        self.iter().map(|fact| fact.text.len() + fact.metadata.len()).sum()
    }

    fn items(&self) -> usize {
        self.len()
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        self.iter().for_each(|fact| (&fact.text, &fact.metadata).hash(hasher));
    }
}

impl HookInput for Vec<Hit> {
    fn bytes(&self) -> usize {
        self.iter().map(|hit| hit.fact.text.len() + hit.fact.metadata.len()).sum()
    }

    fn items(&self) -> usize {
        self.len()
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        self.iter().for_each(|hit| (&hit.fact.text, &hit.fact.metadata).hash(hasher));
    }
}

impl HookInput for Fact {
    fn bytes(&self) -> usize {
        self.text.len() + self.metadata.len()
    }

    fn items(&self) -> usize {
        1
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        (&self.text, &self.metadata).hash(hasher);
    }
}

impl HookInput for FactChange {
    fn bytes(&self) -> usize {
        self.fact.as_ref().map_or(0, HookInput::bytes)
    }

    fn items(&self) -> usize {
        1
    }

    fn hash_content(&self, hasher: &mut DefaultHasher) {
        match &self.fact {
            Some(fact) => fact.hash_content(hasher),
            None => self.id.hash(hasher),
        }
    }
}

macro_rules! call_hooks {
    ($($module:ident: $hook:ident $package:literal, $name:literal, $world:literal,
       $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        /// The hooks of an extension; `None` from one that it does not have.
        impl Session {
            $(#[doc = concat!("Calls `", $name, "`.")]
            ///
            /// # Errors
            /// When the guest does not return.
            pub async fn $module(
                &mut self,
                (guest, linked): (&Arc<Guest>, &LinkedExtension),
                $($argument: $type),+
            ) -> Result<Option<$output>, GuestError> {
                let Some(pre) = &linked.$module else { return Ok(None) };
                let mut hasher = DefaultHasher::new();
                $($argument.hash_content(&mut hasher);)+
                let invocation = self.hook_invocation($name, $input.bytes(), $input.items());
                let invocation = Invocation { input: Some(hasher.finish()), ..invocation };
                let input = self.give_guest(($($argument,)+));
                self.run(guest, pre, invocation, move |hook, store| {
                    Box::pin(async move {
                        let ($($argument,)+) = &*input;
                        hook.$interface().$call(store, $($argument),+).await
                    })
                })
                .await
                .map(|(given, _)| Some(given))
            })+
        }
    };
}

kenning_bindings::for_each_hook!(call_hooks);

impl Session {
    /// The extension's own test; `None` if it brings none.
    pub async fn test_extension(
        &mut self,
        (guest, linked): (&Arc<Guest>, &LinkedExtension),
    ) -> Option<Tested> {
        let pre = linked.self_test.as_ref()?;
        let invocation = self.hook_invocation("self-test", 0, SELF_TEST_ITEMS);
        Some(self.test(guest, pre, invocation).await)
    }

    /// The JSON Schema of the extension's settings; `None` if it exports none.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn settings_schema(
        &mut self,
        (guest, linked): (&Arc<Guest>, &LinkedExtension),
    ) -> Option<Result<String, GuestError>> {
        let pre = linked.schema.as_ref()?;
        let invocation = self.hook_invocation("schema", 0, 0);
        let schema = self.run(guest, pre, invocation, |described, store| {
            Box::pin(async move { described.kenning_settings_schema().call_settings(store).await })
        });
        Some(schema.await.map(|(schema, _)| schema))
    }

    /// The JSON Schema of the extension's options in a request; `None` if it exports none.
    ///
    /// # Errors
    /// When the guest does not return.
    pub async fn options_schema(
        &mut self,
        (guest, linked): (&Arc<Guest>, &LinkedExtension),
    ) -> Option<Result<String, GuestError>> {
        let pre = linked.options_schema.as_ref()?;
        let invocation = self.hook_invocation("options-schema", 0, 0);
        let schema = self.run(guest, pre, invocation, |described, store| {
            Box::pin(async move { described.kenning_options_schema().call_options(store).await })
        });
        Some(schema.await.map(|(schema, _)| schema))
    }

    /// Only instantiates the extension.
    ///
    /// # Errors
    /// When it cannot start within its limits.
    pub async fn start_extension(
        &mut self,
        (guest, linked): (&Arc<Guest>, &LinkedExtension),
    ) -> Result<(), GuestError> {
        let invocation = self.hook_invocation("start", 0, 0);
        self.run(guest, &linked.instance, invocation, |_, _| Box::pin(async { Ok(()) }))
            .await
            .map(drop)
    }

    fn hook_invocation(&self, operation: &'static str, bytes: usize, items: usize) -> Invocation {
        let fuel = self.services().limits.extension_fuel(bytes, items);
        Invocation { operation, fuel, input: None, bytes }
    }
}
