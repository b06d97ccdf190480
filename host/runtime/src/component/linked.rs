//! Loaded guests: compiled and linked, so that a call only has to instantiate them.

use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use kenning_bindings::described::{Described, DescribedPre};
use kenning_bindings::options_described::{OptionsDescribed, OptionsDescribedPre};
use kenning_bindings::self_test::{SelfTested, SelfTestedPre};
use kenning_bindings::{Logic, LogicPre};
use wasmtime::component::{Component, Instance, InstancePre};
use wasmtime::{Engine, Store};

use crate::component::grants::{Grant, Granted};
use crate::component::inspect::{Hook, Inspection};
use crate::component::linker::{Linkers, made_once};
use crate::component::refusal::explain;
use crate::outbound::HostPattern;
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

/// Bindings that can be made of a linked component.
pub(crate) trait FromLinked: Pre + Sized {
    /// Looks up the exports.
    fn from_linked(instance: InstancePre<State>) -> wasmtime::Result<Self>;
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
        }

        impl FromLinked for $pre {
            fn from_linked(instance: InstancePre<State>) -> wasmtime::Result<Self> {
                <$pre>::new(instance)
            }
        })+
    };
}

/// A component linked for the first engine, and what it takes to link it for another.
struct Linked {
    component: Component,
    linkers: Arc<Linkers>,
    /// `None` for a logic, which may import everything.
    grants: Option<Vec<Grant>>,
    /// Where it may send requests to.
    hosts: Arc<[HostPattern]>,
    fallback: OnceLock<InstancePre<State>>,
}

impl Linked {
    fn first(&self) -> wasmtime::Result<InstancePre<State>> {
        self.with(&self.linkers, &self.component)
    }

    /// The same for the engine that the runtime falls back to. The code is copied; no component is
    /// linked twice unless swap space appears.
    fn for_fallback(&self, engine: &Engine) -> wasmtime::Result<InstancePre<State>> {
        let link = || {
            let code = self.component.serialize()?;
            #[expect(unsafe_code, reason = "wasmtime trusts machine code")]
            // SAFETY: wasmtime has just serialized it, for an engine of the same settings.
            let component = unsafe { Component::deserialize(engine, code) }?;
            self.with(self.linkers.for_fallback(engine), &component)
        };
        made_once(&self.fallback, link).cloned()
    }

    fn with(
        &self,
        linkers: &Linkers,
        component: &Component,
    ) -> wasmtime::Result<InstancePre<State>> {
        match &self.grants {
            None => linkers.logic()?.instantiate_pre(component),
            Some(grants) => linkers.extension(grants)?.instantiate_pre(component),
        }
    }
}

/// Bindings of a component for the engine that a store is of.
#[derive(Clone)]
pub(crate) struct PerEngine<P> {
    first: P,
    fallback: OnceLock<P>,
    linked: Arc<Linked>,
}

impl<P: FromLinked> PerEngine<P> {
    fn new(linked: &Arc<Linked>, instance: &InstancePre<State>) -> wasmtime::Result<Self> {
        let first = P::from_linked(instance.clone())?;
        Ok(Self { first, fallback: OnceLock::new(), linked: linked.clone() })
    }

    fn on(&self, engine: &Engine) -> wasmtime::Result<&P> {
        if self.linked.linkers.are_for(engine) {
            return Ok(&self.first);
        }
        made_once(&self.fallback, || P::from_linked(self.linked.for_fallback(engine)?))
    }
}

impl<P: FromLinked> Pre for PerEngine<P> {
    type Bindings = P::Bindings;

    fn instantiate<'a>(
        &'a self,
        store: &'a mut Store<State>,
    ) -> BoxFuture<'a, wasmtime::Result<P::Bindings>> {
        store.data_mut().http.allow(self.linked.hosts.clone());
        match self.on(store.engine()) {
            Ok(pre) => pre.instantiate(store),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }
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

impl FromLinked for InstancePre<State> {
    fn from_linked(instance: InstancePre<State>) -> wasmtime::Result<Self> {
        Ok(instance)
    }
}

pre!(
    LogicPre<State> => Logic,
    SelfTestedPre<State> => SelfTested,
    DescribedPre<State> => Described,
    OptionsDescribedPre<State> => OptionsDescribed,
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
    pub fn extension(self: &Arc<Self>, grants: &[Granted]) -> Result<LinkedExtension, String> {
        let linked = LinkedExtension::link(&self.linkers, &self.component, grants);
        let linked = linked.map_err(|error| explain(&error))?;
        Ok(LinkedExtension { _loaded: Some(self.clone()), ..linked })
    }
}

/// A logic, linked to all that a logic may import.
pub struct LinkedLogic {
    pub(crate) logic: PerEngine<LogicPre<State>>,
    pub(crate) self_test: Option<PerEngine<SelfTestedPre<State>>>,
    /// Held, so that whoever loads the same bytes meanwhile shares their code.
    pub(crate) _loaded: Option<Arc<Loaded>>,
}

impl LinkedLogic {
    pub(crate) fn link(linkers: &Arc<Linkers>, component: &Component) -> wasmtime::Result<Self> {
        let (linked, instance) = link(linkers, component, None)?;
        let (logic, self_test) =
            (PerEngine::new(&linked, &instance)?, optional(SELF_TEST, &linked, &instance)?);
        Ok(Self { logic, self_test, _loaded: None })
    }
}

const SELF_TEST: &str = "kenning:proof/self-test@0.1.0";
const SCHEMA: &str = "kenning:settings/schema@0.1.0";
const OPTIONS_SCHEMA: &str = "kenning:options/schema@0.1.0";

/// A component, linked to what `grants` allow, or to all that a logic may import.
fn link(
    linkers: &Arc<Linkers>,
    component: &Component,
    grants: Option<&[Granted]>,
) -> wasmtime::Result<(Arc<Linked>, InstancePre<State>)> {
    let (component, linkers) = (component.clone(), linkers.clone());
    let hosts = grants.unwrap_or_default().iter().filter_map(Granted::host).cloned().collect();
    let grants = grants.map(|grants| grants.iter().map(Granted::grant).collect());
    let linked = Linked { component, linkers, grants, hosts, fallback: OnceLock::new() };
    let instance = linked.first()?;
    Ok((Arc::new(linked), instance))
}

/// The bindings of an interface that a component may or may not export.
fn optional<P: FromLinked>(
    export: &str,
    linked: &Arc<Linked>,
    instance: &InstancePre<State>,
) -> wasmtime::Result<Option<PerEngine<P>>> {
    let has = linked.component.get_export_index(None, export).is_some();
    has.then(|| PerEngine::new(linked, instance)).transpose()
}

macro_rules! linked_extension {
    ($($module:ident: $hook:ident $package:literal, $name:literal, $world:literal,
       $bindings:ident, $pre:ident,
       $interface:ident.$call:ident($($argument:ident: $type:ty),+) fuel by $input:ident
       -> $output:ty, $on_failure:ident;)+) => {
        pre!($(
            kenning_bindings::$module::$pre<State> => kenning_bindings::$module::$bindings
        ),+);

        /// An extension's hooks, linked to what it was granted. A component has those that it
        /// exports.
        #[derive(Clone)]
        pub struct LinkedExtension {
            pub(crate) instance: PerEngine<InstancePre<State>>,
            $(pub(crate) $module: Option<PerEngine<kenning_bindings::$module::$pre<State>>>,)+
            pub(crate) self_test: Option<PerEngine<SelfTestedPre<State>>>,
            pub(crate) schema: Option<PerEngine<DescribedPre<State>>>,
            pub(crate) options_schema: Option<PerEngine<OptionsDescribedPre<State>>>,
            /// As the logic's.
            _loaded: Option<Arc<Loaded>>,
        }

        impl LinkedExtension {
            /// An error names the import that is neither offered nor granted.
            fn link(
                linkers: &Arc<Linkers>,
                component: &Component,
                grants: &[Granted],
            ) -> wasmtime::Result<Self> {
                let (linked, instance) = link(linkers, component, Some(grants))?;
                let has = |hook: Hook| component.get_export_index(None, hook.interface()).is_some();
                Ok(Self {
                    $($module: has(Hook::$hook)
                        .then(|| PerEngine::new(&linked, &instance))
                        .transpose()?,)+
                    self_test: optional(SELF_TEST, &linked, &instance)?,
                    schema: optional(SCHEMA, &linked, &instance)?,
                    options_schema: optional(OPTIONS_SCHEMA, &linked, &instance)?,
                    instance: PerEngine::new(&linked, &instance)?,
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
