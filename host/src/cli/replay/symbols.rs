//! Names and lines for the frames of a guest's stack, where the component has them: names in its
//! `name` section, lines in DWARF.

use std::collections::HashMap;

use addr2line::Context;
use addr2line::gimli::{Dwarf, EndianSlice, LittleEndian};
use kenning_runtime::Frame;
use wasmparser::{Parser, Payload};

/// DWARF of one module.
type Lines<'a> = Context<EndianSlice<'a, LittleEndian>>;

/// One core module of a component.
#[derive(Default)]
struct Module<'a> {
    /// Where its code is, in bytes from the beginning of the component.
    code: std::ops::Range<usize>,
    debug: HashMap<&'a str, &'a [u8]>,
}

/// The frames as text, innermost first.
pub(super) fn backtrace(component: &[u8], frames: &[Frame]) -> Vec<String> {
    let modules = modules(component);
    let lines: Vec<Option<Lines<'_>>> = modules.iter().map(lines).collect();
    let shown = |frame: &Frame| {
        let offset = frame.offset.unwrap_or_default();
        let at = modules.iter().position(|module| module.code.contains(&offset));
        let inlined = at.and_then(|at| {
            let address = (offset - modules[at].code.start) as u64;
            lines[at].as_ref().map(|lines| inlined(lines, address))
        });
        match inlined {
            Some(inlined) if !inlined.is_empty() => inlined,
            _ => vec![unnamed(frame)],
        }
    };
    frames.iter().flat_map(shown).collect()
}

/// A frame without lines.
fn unnamed(frame: &Frame) -> String {
    let name = frame.function.as_deref().map(demangled);
    let name = name.unwrap_or_else(|| format!("function {}", frame.number));
    frame.offset.map_or(name.clone(), |offset| format!("{name} at byte {offset:#x}"))
}

fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

/// The functions at an address, from the innermost inlined one outwards.
fn inlined(lines: &Lines<'_>, address: u64) -> Vec<String> {
    let mut shown = Vec::new();
    let Ok(mut frames) = lines.find_frames(address).skip_all_loads() else { return shown };
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.as_ref().and_then(|function| function.raw_name().ok());
        let name = name.map(|name| demangled(&name)).unwrap_or_default();
        let place = frame.location.map(|place| {
            let (file, line) = (place.file.unwrap_or("?"), place.line.unwrap_or_default());
            match place.column {
                Some(column) => format!("{file}:{line}:{column}"),
                None => format!("{file}:{line}"),
            }
        });
        let parts = [name, place.unwrap_or_default()];
        let line = parts.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
        if !line.is_empty() {
            shown.push(line.join(" at "));
        }
    }
    shown
}

fn lines<'a>(module: &Module<'a>) -> Option<Lines<'a>> {
    if !module.debug.contains_key(".debug_info") {
        return None;
    }
    let section = |id: addr2line::gimli::SectionId| {
        let bytes = module.debug.get(id.name()).copied().unwrap_or_default();
        Ok::<_, ()>(EndianSlice::new(bytes, LittleEndian))
    };
    Context::from_dwarf(Dwarf::load(section).ok()?).ok()
}

/// The core modules of a component, as far as it can be read.
fn modules(component: &[u8]) -> Vec<Module<'_>> {
    let (mut done, mut open): (Vec<Module<'_>>, Vec<Module<'_>>) = Default::default();
    for payload in Parser::new(0).parse_all(component).map_while(Result::ok) {
        match payload {
            Payload::Version { .. } => open.push(Module::default()),
            Payload::CodeSectionStart { range, .. } => {
                if let Some(module) = open.last_mut() {
                    module.code = range;
                }
            }
            Payload::CustomSection(section) => {
                if let Some(module) = open.last_mut() {
                    module.debug.insert(section.name(), section.data());
                }
            }
            Payload::End(_) => done.extend(open.pop()),
            _ => {}
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_without_lines_has_its_function() {
        let named = Frame {
            function: Some("_ZN5guest5fails17h0123456789abcdefE".into()),
            number: 3,
            offset: Some(0x20),
        };
        let unnamed = Frame { function: None, ..named.clone() };
        let shown = backtrace(b"no component", &[named, unnamed]);
        assert_eq!(shown, ["guest::fails at byte 0x20", "function 3 at byte 0x20"]);
    }
}
