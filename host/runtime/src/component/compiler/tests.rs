//! What the child process may use, refuses and reuses.

use super::*;

#[test]
fn an_inherited_limit_is_never_raised() {
    let of = |current, maximum| Rlimit { current, maximum };
    assert_eq!(lower(of(Some(20), Some(20)), 32).maximum, Some(20));
    assert_eq!(lower(of(Some(20), Some(64)), 32).current, Some(20));
    let lowered = lower(of(None, None), 32);
    assert_eq!((lowered.current, lowered.maximum), (Some(32), Some(32)));
}

#[test]
fn a_component_with_asynchronous_functions_is_refused_with_the_flag_that_helps() {
    let component = "(component
        (core module $m (func (export \"f\")))
        (core instance $i (instantiate $m))
        (func (export \"f\") async (canon lift (core func $i \"f\") async)))";
    let bytes = wat::parse_str(component).unwrap();
    let engine = engine::compiling_engine(&Limits::default()).unwrap();
    let error = compile(&engine, &bytes).unwrap_err().to_string();
    assert!(error.contains("--sync"), "{error}");
}

/// Functions that differ, with this one among them.
fn component(body: &str) -> Vec<u8> {
    let function =
        |number| format!("(func (export \"f{number}\") (result i32) (i32.const {number}))");
    let more: String = (1..20).map(function).collect();
    let module = format!("(core module $m (func (export \"f\") {body}) {more})");
    wat::parse_str(format!("(component {module} (core instance (instantiate $m)))")).unwrap()
}

#[test]
fn of_a_component_that_changed_little_most_is_reused_and_the_code_is_the_same() {
    let limits = Limits::default();
    let compiled = |bytes: &[u8], sent: &[u8]| {
        let known = KnownFunctions::read(&mut &sent[..]).unwrap().noting(1 << 20);
        let known = Arc::new(known);
        let engine = engine::reusing_engine(&limits, known.clone()).unwrap();
        let code = compile(&engine, bytes).unwrap();
        (code, known.finish())
    };
    let nothing = 0_u64.to_le_bytes();
    let (_, (pack, first)) = compiled(&component(""), &nothing);
    assert!(first.compiled >= 20, "{first:?}");
    let changed = component("(result i64) (i64.mul (i64.const 3) (i64.const 5))");
    let sent = [&(pack.len() as u64).to_le_bytes()[..], &pack, &nothing].concat();
    let (code, (new, second)) = compiled(&changed, &sent);
    assert!(second.reused[0] > 4 * second.compiled, "{second:?}");
    assert!(new.len() < pack.len() / 2, "only what is new is kept");
    let engine = engine::compiling_engine(&limits).unwrap();
    assert!(code == compile(&engine, &changed).unwrap(), "the same as without reuse");
}

#[test]
fn the_server_can_load_what_the_child_process_compiles() {
    let limits = Limits::default();
    let server = engine::Engines::new(&limits).unwrap();
    let child = engine::compiling_engine(&limits).unwrap();
    assert_eq!(fingerprint(server.first()), fingerprint(&child));
    let reusing = engine::reusing_engine(&limits, Arc::<KnownFunctions>::default()).unwrap();
    assert_eq!(fingerprint(server.first()), fingerprint(&reusing));
}
