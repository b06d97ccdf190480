//! Loaded guests: compiled and linked, so that a call only has to instantiate them.

use std::sync::Arc;

use futures::future::BoxFuture;
use kenning_bindings::self_test::{SelfTested, SelfTestedPre};
use kenning_bindings::{Logic, LogicPre};
use wasmtime::Store;
use wasmtime::component::{Component, Instance, InstancePre};

use crate::component::inspect::{Grant, Hook, Inspection};
use crate::component::linker::Linkers;
use crate::component::refusal::explain;
use crate::state::State;

/// The bindings of one world, ready to be instantiated.
pub trait Pre: Send + Sync {
    /// The instance, with its exports typed.
    type Bindings: Send + Sync;

    /// Makes a fresh instance in `store`.
    fn instantiate<'a>(
        &'a self,
        store: &'a mut Store<State>,
    ) -> BoxFuture<'a, wasmtime::Result<Self::Bindings>>;
}

macro_rules! pre {
    ($($pre:ty => $bindings:ty),+ $(,)?) => {
        $(impl Pre for $pre {
            type Bindings = $bindings;

            fn instantiate<'a>(
                &'a self,
                store: &'a mut Store<State>,
            ) -> BoxFuture<'a, wasmtime::Result<Self::Bindings>> {
                Box::pin(self.instantiate_async(store))
            }
        })+
    };
}

/// What a component exports to have a hook.
fn interface(hook: Hook) -> String {
    format!("kenning:knowledge/{}@0.1.0", hook.name())
}

/// Nothing but the instance.
impl Pre for InstancePre<State> {
    type Bindings = Instance;

    fn instantiate<'a>(
        &'a self,
        store: &'a mut Store<State>,
    ) -> BoxFuture<'a, wasmtime::Result<Instance>> {
        Box::pin(self.instantiate_async(store))
    }
}

pre!(
    LogicPre<State> => Logic,
    SelfTestedPre<State> => SelfTested,
);

/// A component that this host can run.
pub struct Loaded {
    pub(crate) component: Component,
    pub(crate) linkers: Arc<Linkers>,
    /// `sha256:` and the digest of the bytes, in hexadecimal.
    pub digest: Arc<str>,
    /// The outline that the compiler's child printed.
    pub inspection: Inspection,
}

impl Loaded {
    /// Linked to everything that a logic may import.
    ///
    /// # Errors
    /// When an import or export does not fit; the text names it.
    pub fn logic(self: &Arc<Self>) -> Result<LinkedLogic, String> {
        let linked = LinkedLogic::link(&self.linkers, &self.component);
        let linked = linked.map_err(|error| explain(&error))?;
        Ok(LinkedLogic { _loaded: Some(self.clone()), ..linked })
    }

    /// Linked to what every extension may import and to `grants`.
    ///
    /// # Errors
    /// When an import is neither offered nor granted, or does not fit; the text names it.
    pub fn extension(self: &Arc<Self>, grants: &[Grant]) -> Result<LinkedExtension, String> {
        let linked = LinkedExtension::link(&self.linkers, &self.component, grants);
        let linked = linked.map_err(|error| explain(&error))?;
        Ok(LinkedExtension { _loaded: Some(self.clone()), ..linked })
    }
}

/// A logic, linked to all that a logic may import.
pub struct LinkedLogic {
    pub(crate) logic: LogicPre<State>,
    pub(crate) self_test: Option<SelfTestedPre<State>>,
    /// Held, so that whoever loads the same bytes meanwhile shares their code.
    pub(crate) _loaded: Option<Arc<Loaded>>,
}

impl LinkedLogic {
    pub(crate) fn link(linkers: &Linkers, component: &Component) -> wasmtime::Result<Self> {
        let instance = linkers.logic()?.instantiate_pre(component)?;
        let self_test = self_test(component, &instance)?;
        Ok(Self { logic: LogicPre::new(instance)?, self_test, _loaded: None })
    }
}

const SELF_TEST: &str = "kenning:proof/self-test@0.1.0";

fn self_test(
    component: &Component,
    instance: &InstancePre<State>,
) -> wasmtime::Result<Option<SelfTestedPre<State>>> {
    let has = component.get_export_index(None, SELF_TEST).is_some();
    has.then(|| SelfTestedPre::new(instance.clone())).transpose()
}

macro_rules! linked_extension {
    ($($module:ident: $hook:ident $name:literal, $world:literal, $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        pre!($(
            kenning_bindings::$module::$pre<State> => kenning_bindings::$module::$bindings
        ),+);

        /// An extension's hooks, linked to what it was granted. A component has those that it
        /// exports.
        #[derive(Clone)]
        pub struct LinkedExtension {
            pub(crate) instance: InstancePre<State>,
            $(pub(crate) $module: Option<kenning_bindings::$module::$pre<State>>,)+
            pub(crate) self_test: Option<SelfTestedPre<State>>,
            /// As the logic's.
            _loaded: Option<Arc<Loaded>>,
        }

        impl LinkedExtension {
            /// An error names the import that is neither offered nor granted.
            fn link(
                linkers: &Linkers,
                component: &Component,
                grants: &[Grant],
            ) -> wasmtime::Result<Self> {
                let instance = linkers.extension(grants)?.instantiate_pre(component)?;
                let has = |hook| component.get_export_index(None, interface(hook)).is_some();
                Ok(Self {
                    $($module: has(Hook::$hook)
                        .then(|| kenning_bindings::$module::$pre::new(instance.clone()))
                        .transpose()?,)+
                    self_test: self_test(component, &instance)?,
                    instance,
                    _loaded: None,
                })
            }

            /// Whether the component exports this hook.
            pub fn has(&self, hook: Hook) -> bool {
                match hook {
                    $(Hook::$hook => self.$module.is_some(),)+
                }
            }
        }
    };
}

kenning_bindings::for_each_hook!(linked_extension);
