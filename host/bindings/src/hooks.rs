//! The table of hooks: what an extension may export around the logic.

/// Expands `$apply!` with one row for each hook. A new hook is a row here, an interface in
/// `wit/`, a step of the pipeline in `host/src/kb/` and a trait in the SDK.
///
/// A row names, in this order: the module of its bindings, its variant of `Hook`, its package and
/// its interface, its world, the bindings of that world and their linked form, how it is called
/// (the argument behind `fuel by` is the input that its fuel is reckoned by), and whether a call
/// ends (`Close`) or goes on without the hook (`LeaveOut`) when the hook fails.
#[macro_export]
macro_rules! for_each_hook {
    ($apply:ident) => {
        $apply! {
            on_store: OnStore "kenning:knowledge", "on-store",
                "kenning:knowledge/on-store-extension",
                OnStoreExtension, OnStoreExtensionPre,
                kenning_knowledge_on_store.call_on_store(draft: Draft) fuel by draft
                    -> Result<Vec<Draft>, Refusal>,
                Close;
            on_query: OnQuery "kenning:knowledge", "on-query",
                "kenning:knowledge/on-query-extension",
                OnQueryExtension, OnQueryExtensionPre,
                kenning_knowledge_on_query.call_on_query(query: Query) fuel by query
                    -> Result<Query, Refusal>,
                Close;
            on_read: OnRead "kenning:knowledge", "on-read",
                "kenning:knowledge/on-read-extension",
                OnReadExtension, OnReadExtensionPre,
                kenning_knowledge_on_read.call_on_read(facts: Vec<Fact>) fuel by facts
                    -> Vec<Fact>,
                Close;
            rerank: Rerank "kenning:knowledge", "rerank",
                "kenning:knowledge/rerank-extension",
                RerankExtension, RerankExtensionPre,
                kenning_knowledge_rerank.call_rerank(query: Query, hits: Vec<Hit>) fuel by hits
                    -> Vec<Ranked>,
                LeaveOut;
            on_delete: OnDelete "kenning:events", "on-delete",
                "kenning:events/on-delete-extension",
                OnDeleteExtension, OnDeleteExtensionPre,
                kenning_events_on_delete.call_on_delete(fact: Fact) fuel by fact
                    -> Result<(), DeletionRefusal>,
                Close;
            on_change: OnChange "kenning:events", "on-change",
                "kenning:events/on-change-extension",
                OnChangeExtension, OnChangeExtensionPre,
                kenning_events_on_change.call_on_change(change: FactChange) fuel by change
                    -> Result<(), String>,
                LeaveOut;
        }
    };
}
