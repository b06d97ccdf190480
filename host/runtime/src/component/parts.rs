//! Counts the parts that one instance of a component takes from the instance pool.
//!
//! A component may instantiate a module several times, and hold components that do the same. So the
//! counts of each module and inner component are added for each time that it is instantiated.

use kenning_core::limits::Limits;
use serde::{Deserialize, Serialize};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, Instance,
    Payload, Result,
};

/// The parts of one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Linear memories that it defines.
    pub memories: u32,
    /// Tables that it defines.
    pub tables: u32,
    /// Instances of core modules.
    pub core_instances: u32,
}

impl Parts {
    /// Which limit these parts exceed: a sentence for whoever sent the component.
    pub fn problem(&self, limits: &Limits) -> Option<String> {
        let rules = [
            ("memories", self.memories, "guest_memories", limits.guest_memories),
            ("tables", self.tables, "guest_tables", limits.guest_tables),
            (
                "core instances",
                self.core_instances,
                "guest_core_instances",
                limits.guest_core_instances,
            ),
        ];
        let exceeded = rules.into_iter().find(|(_, used, _, allowed)| used > allowed);
        exceeded.map(|(parts, used, limit, allowed)| {
            format!("it has {used} {parts}, and {limit} allows {allowed}")
        })
    }

    fn add(&mut self, other: Self) {
        self.memories = self.memories.saturating_add(other.memories);
        self.tables = self.tables.saturating_add(other.tables);
        self.core_instances = self.core_instances.saturating_add(other.core_instances);
    }
}

/// Counts while the payloads of a component are read.
#[derive(Default)]
pub(crate) struct Counter {
    /// What is being read: the outermost component first, and maybe a module last.
    open: Vec<Frame>,
}

/// A component or module that has not ended. The lists are index spaces of the component format.
#[derive(Default)]
struct Frame {
    is_module: bool,
    parts: Parts,
    modules: Vec<Parts>,
    components: Vec<Parts>,
}

impl Counter {
    /// Reads one payload. Returns the counts when the outermost component ends.
    pub(crate) fn read(&mut self, payload: &Payload<'_>) -> Result<Option<Parts>> {
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == wasmparser::Encoding::Module;
                self.open.push(Frame { is_module, ..Frame::default() });
            }
            Payload::End(_) => return Ok(self.end()),
            _ => {
                if let Some((frame, outer)) = self.open.split_last_mut() {
                    frame.read(payload, outer)?;
                }
            }
        }
        Ok(None)
    }

    fn end(&mut self) -> Option<Parts> {
        let ended = self.open.pop()?;
        let Some(parent) = self.open.last_mut() else { return Some(ended.parts) };
        match ended.is_module {
            true => parent.modules.push(ended.parts),
            false => parent.components.push(ended.parts),
        }
        None
    }
}

impl Frame {
    fn read(&mut self, payload: &Payload<'_>, outer: &[Self]) -> Result<()> {
        match payload {
            Payload::MemorySection(section) => {
                self.parts.memories = self.parts.memories.saturating_add(section.count());
            }
            Payload::TableSection(section) => {
                self.parts.tables = self.parts.tables.saturating_add(section.count());
            }
            Payload::InstanceSection(section) => {
                for instance in section.clone() {
                    self.core_instance(&instance?);
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    self.component_instance(&instance?);
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    self.alias(&alias?, outer);
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    // What is imported is not known; this host offers neither.
                    self.push(import?.ty.kind(), Parts::default());
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    // An export is a new item of the index space, too.
                    self.push(export.kind, self.get(export.kind, export.index));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn core_instance(&mut self, instance: &Instance<'_>) {
        if let Instance::Instantiate { module_index, .. } = instance {
            let parts = self.get(ComponentExternalKind::Module, *module_index);
            self.parts.add(parts);
            self.parts.add(Parts { core_instances: 1, ..Parts::default() });
        }
    }

    fn component_instance(&mut self, instance: &ComponentInstance<'_>) {
        if let ComponentInstance::Instantiate { component_index, .. } = instance {
            let parts = self.get(ComponentExternalKind::Component, *component_index);
            self.parts.add(parts);
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>, outer: &[Self]) {
        match alias {
            ComponentAlias::Outer { kind, count, index } => {
                let kind = match kind {
                    ComponentOuterAliasKind::CoreModule => ComponentExternalKind::Module,
                    ComponentOuterAliasKind::Component => ComponentExternalKind::Component,
                    _ => return,
                };
                let parts = match (*count as usize).checked_sub(1) {
                    None => self.get(kind, *index),
                    Some(levels) => {
                        let of = outer.iter().rev().nth(levels);
                        of.map_or_else(Parts::default, |frame| frame.get(kind, *index))
                    }
                };
                self.push(kind, parts);
            }
            // Which one it is cannot be told here. wasmtime counts it when the code is loaded.
            ComponentAlias::InstanceExport { kind, .. } => self.push(*kind, Parts::default()),
            ComponentAlias::CoreInstanceExport { .. } => {}
        }
    }

    fn get(&self, kind: ComponentExternalKind, index: u32) -> Parts {
        let space = match kind {
            ComponentExternalKind::Module => &self.modules,
            ComponentExternalKind::Component => &self.components,
            _ => return Parts::default(),
        };
        space.get(index as usize).copied().unwrap_or_default()
    }

    fn push(&mut self, kind: ComponentExternalKind, parts: Parts) {
        match kind {
            ComponentExternalKind::Module => self.modules.push(parts),
            ComponentExternalKind::Component => self.components.push(parts),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::inspect::inspect;

    fn parts(text: &str) -> Parts {
        inspect(&wat::parse_str(text).unwrap()).unwrap().parts
    }

    fn counted(memories: u32, tables: u32, core_instances: u32) -> Parts {
        Parts { memories, tables, core_instances }
    }

    #[test]
    fn a_module_counts_each_time_that_it_is_instantiated() {
        let module = "(core module $m (memory 1) (table 1 funcref) (table 2 funcref))";
        assert_eq!(parts(&format!("(component {module})")), counted(0, 0, 0));
        let instance = "(core instance (instantiate $m))";
        let text = format!("(component {module} {})", instance.repeat(3));
        assert_eq!(parts(&text), counted(3, 6, 3));
    }

    #[test]
    fn a_memory_that_is_passed_on_counts_once() {
        let text = "(component
            (core module $owner (memory (export \"memory\") 1))
            (core module $user (import \"owner\" \"memory\" (memory 1)))
            (core instance $owned (instantiate $owner))
            (core instance (instantiate $user (with \"owner\" (instance $owned)))))";
        assert_eq!(parts(text), counted(1, 0, 2));
    }

    #[test]
    fn an_inner_component_counts_each_time_with_what_it_takes_from_outside() {
        let text = "(component
            (core module $m (memory 1))
            (component $twice
                (core instance (instantiate $m))
                (component $once (core instance (instantiate $m)))
                (instance (instantiate $once)))
            (instance (instantiate $twice))
            (instance (instantiate $twice)))";
        assert_eq!(parts(text), counted(4, 0, 4));
    }

    #[test]
    fn what_exceeds_a_limit_names_it() {
        let limits = Limits::default();
        assert_eq!(counted(4, 16, 32).problem(&limits), None);
        let sentences = [
            (counted(5, 0, 0), "it has 5 memories, and guest_memories allows 4"),
            (counted(0, 17, 0), "it has 17 tables, and guest_tables allows 16"),
            (counted(0, 0, 33), "it has 33 core instances, and guest_core_instances allows 32"),
        ];
        for (parts, sentence) in sentences {
            assert_eq!(parts.problem(&limits).as_deref(), Some(sentence));
        }
    }
}
