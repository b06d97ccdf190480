//! The macro that exports an extension's hooks from the component.

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
        $crate::__export!($extension [no no no no] $($hook)+);
    };
}

/// Marks each listed hook with `yes`, then exports those and forbids implementing the others.
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
            " is not a hook; the hooks are OnStore, OnQuery, OnRead and Rerank"
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
            // Ambiguous, and therefore an error, if both implementations apply.
            <$extension as EveryImplementedHookIsListedInExport<_>>::check();
        };
    };
}
