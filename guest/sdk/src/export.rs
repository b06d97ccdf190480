//! The one line that makes a component of an extension.

/// Exports an extension's hooks: `export!(MyExtension: OnStore, Rerank)`.
///
/// The list is what the component will have. A hook that is listed must be implemented,
/// and one that is implemented must be listed, or it does not compile:
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
/// kenning_extension::export!(Forgetful: OnQuery); // and OnRead?
/// ```
#[macro_export]
macro_rules! export {
    ($extension:ident: $($hook:ident),+ $(,)?) => {
        $crate::__export!($extension [no no no no] $($hook)+);
    };
}

/// Ticks the listed hooks off, then exports each that is ticked and forbids the others.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident] OnStore $($more:ident)*) => {
        $crate::__export!($extension [yes $b $c $d] $($more)*);
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident] OnQuery $($more:ident)*) => {
        $crate::__export!($extension [$a yes $c $d] $($more)*);
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident] OnRead $($more:ident)*) => {
        $crate::__export!($extension [$a $b yes $d] $($more)*);
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident] Rerank $($more:ident)*) => {
        $crate::__export!($extension [$a $b $c yes] $($more)*);
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident] $other:ident $($more:ident)*) => {
        compile_error!(concat!(
            stringify!($other),
            " is no hook: there are OnStore, OnQuery, OnRead and Rerank"
        ));
    };
    ($extension:ident [$a:ident $b:ident $c:ident $d:ident]) => {
        $crate::__hook!($a $extension, OnStore, on_store);
        $crate::__hook!($b $extension, OnQuery, on_query);
        $crate::__hook!($c $extension, OnRead, on_read);
        $crate::__hook!($d $extension, Rerank, rerank);
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
            // Ambiguous, and so an error, if both hold.
            <$extension as EveryImplementedHookIsListedInExport<_>>::check();
        };
    };
}
