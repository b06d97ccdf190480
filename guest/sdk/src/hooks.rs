//! The hooks, one trait each, and the macro that exports those that an extension has.
//!
//! A single trait with default methods would not work: the host learns a component's hooks
//! from its exports, and the macro could not tell which methods were overridden.

use crate::{Change, DeletionRefusal, Draft, Fact, Hit, Query, Ranked, Refusal};

/// Runs before a draft is stored: can change, split, enrich or reject it.
pub trait OnStore {
    /// Returns the drafts to store instead of `draft`: usually one, at most 100.
    ///
    /// An empty list stores nothing and counts as a failure; return a [`Refusal`] with a
    /// reason instead. A store may be repeated with the same id, so the same draft should
    /// always give the same drafts.
    ///
    /// # Errors
    /// A [`Refusal`] rejects the write; its message is shown to the caller.
    fn on_store(draft: Draft) -> Result<Vec<Draft>, Refusal>;
}

/// Runs before a query is answered: can rewrite it, add a filter or reject it.
pub trait OnQuery {
    /// Returns the query to answer instead of `query`.
    ///
    /// # Errors
    /// A [`Refusal`] rejects the query; its message is shown to the caller.
    fn on_query(query: Query) -> Result<Query, Refusal>;
}

/// Runs before facts are returned by get, list, search or export: can redact or drop them.
pub trait OnRead {
    /// Returns the facts that the caller may see, redacted where necessary.
    ///
    /// Facts that were not in `facts` are dropped. The host keeps its own order.
    fn on_read(facts: Vec<Fact>) -> Vec<Fact>;
}

/// Runs after a search: can reorder the hits, change their scores and drop some.
pub trait Rerank {
    /// Returns the hits to keep, in any order: the host sorts them by score.
    ///
    /// Ids that were not in `hits` are dropped, and so are duplicates after the first.
    /// Scores must be finite.
    fn rerank(query: &Query, hits: Vec<Hit>) -> Vec<Ranked>;
}

/// Runs before a fact is deleted, by id or by filter: lets it happen or refuses it.
pub trait OnDelete {
    /// Is told the fact as it is stored.
    ///
    /// # Errors
    /// A [`DeletionRefusal`] keeps the fact; the caller is shown all of it.
    fn on_delete(fact: Fact) -> Result<(), DeletionRefusal>;
}

/// Runs in the background after a fact has changed, once for each change, in their order.
///
/// The same change may come again, also after it was taken. If the hook fails or returns an error,
/// it is called again, a few times with growing pauses; then the change becomes a dead letter,
/// which the operator can have told again, and the next one follows.
pub trait OnChange {
    /// Takes a change.
    ///
    /// # Errors
    /// A text says why the change was not taken, for the operator.
    fn on_change(change: Change) -> Result<(), String>;
}

/// Says which settings an extension takes, so that others are refused before they apply.
pub trait SettingsSchema {
    /// The JSON Schema of the settings, draft 2020-12. Patterns are those of Rust's `regex`.
    const SCHEMA: &'static str;
}

/// Exports an extension's [`SettingsSchema`]: `export_schema!(MyExtension)`.
#[macro_export]
macro_rules! export_schema {
    ($extension:ident) => {
        const _: () = {
            const fn is_implemented<T: $crate::SettingsSchema>() {}
            is_implemented::<$extension>();
        };
        #[cfg(target_family = "wasm")]
        $crate::component::schema::export!(
            $extension with_types_in $crate::component::schema
        );
    };
}

/// Says which options an extension takes in a request, so that the host refuses others before any
/// extension runs.
pub trait OptionsSchema {
    /// The JSON Schema of the extension's member of `extension_options`, draft 2020-12: at most
    /// 16 KiB, without references, patterns and `unevaluated…`.
    const SCHEMA: &'static str;
}

/// Exports an extension's [`OptionsSchema`]: `export_options_schema!(MyExtension)`.
#[macro_export]
macro_rules! export_options_schema {
    ($extension:ident) => {
        const _: () = {
            const fn is_implemented<T: $crate::OptionsSchema>() {}
            is_implemented::<$extension>();
        };
        #[cfg(target_family = "wasm")]
        $crate::component::options::export!(
            $extension with_types_in $crate::component::options
        );
    };
}

/// Exports an extension's hooks: `export!(MyExtension: OnStore, Rerank)`.
///
/// The component exports exactly the listed hooks. Every listed hook must be implemented
/// and every implemented hook must be listed; otherwise compilation fails:
///
/// ```compile_fail,E0283
/// use kenning_extension::{Fact, OnQuery, OnRead, Query, Refusal};
/// struct Forgetful;
/// impl OnQuery for Forgetful {
///     fn on_query(query: Query) -> Result<Query, Refusal> {
///         Ok(query)
///     }
/// }
/// impl OnRead for Forgetful {
///     fn on_read(facts: Vec<Fact>) -> Vec<Fact> {
///         facts
///     }
/// }
/// kenning_extension::export!(Forgetful: OnQuery); // OnRead is missing.
/// ```
#[macro_export]
macro_rules! export {
    ($extension:ident: $($hook:ident),+ $(,)?) => {
        $crate::__export!($extension [no no no no no no] $($hook)+);
    };
}

/// Marks each listed hook with `yes`, then exports those and forbids implementing the others.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        OnStore $($more:ident)*
    ) => {
        $crate::__export!($extension [yes $b $c $d $e $f] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        OnQuery $($more:ident)*
    ) => {
        $crate::__export!($extension [$a yes $c $d $e $f] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        OnRead $($more:ident)*
    ) => {
        $crate::__export!($extension [$a $b yes $d $e $f] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        Rerank $($more:ident)*
    ) => {
        $crate::__export!($extension [$a $b $c yes $e $f] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        OnDelete $($more:ident)*
    ) => {
        $crate::__export!($extension [$a $b $c $d yes $f] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        OnChange $($more:ident)*
    ) => {
        $crate::__export!($extension [$a $b $c $d $e yes] $($more)*);
    };
    (
        $extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]
        $other:ident $($more:ident)*
    ) => {
        compile_error!(concat!(
            stringify!($other),
            " is not a hook; the hooks are OnStore, OnQuery, OnRead, Rerank, OnDelete and OnChange"
        ));
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident $e:ident $f:ident]) => {
        $crate::__hook!($a $extension, OnStore, on_store);
        $crate::__hook!($b $extension, OnQuery, on_query);
        $crate::__hook!($c $extension, OnRead, on_read);
        $crate::__hook!($d $extension, Rerank, rerank);
        $crate::__hook!($e $extension, OnDelete, on_delete);
        $crate::__hook!($f $extension, OnChange, on_change);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (yes $extension:ident, $hook:ident, $module:ident) => {
        const _: () = {
            const fn is_implemented<T: $crate::$hook>() {}
            is_implemented::<$extension>();
        };
        #[cfg(target_family = "wasm")]
        $crate::component::$module::export!(
            $extension with_types_in $crate::component::$module
        );
    };
    (no $extension:ident, $hook:ident, $module:ident) => {
        const _: fn() = || {
            trait EveryImplementedHookIsListedInExport<Case> {
                fn check() {}
            }
            struct ImplementedButNotListed;
            impl<T> EveryImplementedHookIsListedInExport<()> for T {}
            impl<T: $crate::$hook> EveryImplementedHookIsListedInExport<ImplementedButNotListed>
                for T
            {
            }
            // Ambiguous, and therefore an error, if both implementations apply.
            <$extension as EveryImplementedHookIsListedInExport<_>>::check();
        };
    };
}
