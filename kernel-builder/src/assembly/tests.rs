use super::*;

const BOUNDS: LaunchBounds = LaunchBounds {
    threads: 128,
    blocks_per_sm: 2,
};

const TEXT: &str = include_str!("../../tests/data/two_kernels.s");

#[test]
fn entries_are_listed_in_the_order_of_the_text() {
    let assembly = Assembly::split(TEXT).unwrap();
    assert_eq!(assembly.entries().collect::<Vec<_>>(), ["fill", "stage"]);
}

#[test]
fn a_module_holds_what_its_entry_reaches_and_nothing_else() {
    let assembly = Assembly::split(TEXT).unwrap();
    let fill = assembly.module("fill", BOUNDS, None).unwrap();
    for part in [
        ".version 7.1
.target sm_80
.address_size 64
",
        "table[8]",
        "lookup(
",
        ".entry fill(",
    ] {
        assert!(
            fill.contains(part),
            "{part} missing in:
{fill}"
        );
    }
    for part in ["dyn_smem", "unused", "stage"] {
        assert!(
            !fill.contains(part),
            "{part} is not used in:
{fill}"
        );
    }
    let stage = assembly.module("stage", BOUNDS, None).unwrap();
    assert!(stage.contains(".extern .shared .align 1024 .b8 dyn_smem[];"));
    assert!(
        !stage.contains("lookup")
            && stage.ends_with(
                "ret;
}
"
            ),
        "{stage}"
    );
}

#[test]
fn a_prototype_travels_with_its_definition() {
    let fill = Assembly::split(TEXT)
        .unwrap()
        .module("fill", BOUNDS, None)
        .unwrap();
    assert_eq!(
        fill.matches(".func (.param .b32 func_retval0) twice")
            .count(),
        2
    );
}

#[test]
fn a_module_names_the_source_files_of_its_own_lines() {
    let text = ".version 7.1
.func helper()
{
.loc 3 9 1
ret;
}
.entry a()
{
.loc 1 5 0
call.uni helper;
}
.entry b()
{
.loc 2 7 0
ret;
}
.section .debug_macinfo { }
.file 1 \"a.rs\"
.file 2 \"b.rs\"
.file 3 \"helper.rs\"
";
    let assembly = Assembly::split(text).unwrap();
    let end = |entry, files: &str| {
        let module = assembly.module(entry, BOUNDS, None).unwrap();
        let end = format!("}}\n.section .debug_macinfo {{ }}\n{files}");
        assert!(module.ends_with(&end), "{module}");
    };
    end("a", ".file 1 \"a.rs\"\n.file 3 \"helper.rs\"\n");
    end("b", ".file 2 \"b.rs\"\n");
}

#[test]
fn launch_bounds_follow_the_parameter_list() {
    let assembly = Assembly::split(TEXT).unwrap();
    let bounds = ".reqntid 128, 1, 1
.minnctapersm 2
{";
    let fill = assembly.module("fill", BOUNDS, None).unwrap();
    assert!(
        fill.contains(&format!(
            "fill_param_0
)
{bounds}"
        )),
        "{fill}"
    );
    let stage = assembly.module("stage", BOUNDS, None).unwrap();
    assert!(
        stage.contains(&format!(
            "stage()
{bounds}"
        )),
        "{stage}"
    );
}

#[test]
fn parameters_passed_by_value_are_aligned_as_asked() {
    let text = ".version 8.1\n.entry a(\n\t.param .align 16 .b8 a_param_0[528],\n\t.param .b32 a_param_1\n)\n{\nret;\n}\n";
    let module = Assembly::split(text)
        .unwrap()
        .module("a", BOUNDS, Some(64))
        .unwrap();
    for line in [
        ".param .align 64 .b8 a_param_0[528],",
        ".param .b32 a_param_1\n",
    ] {
        assert!(module.contains(line), "{module}");
    }
}

#[test]
fn a_missing_entry_is_named_with_those_that_are_there() {
    let error = Assembly::split(TEXT)
        .unwrap()
        .module("drain", BOUNDS, None)
        .unwrap_err();
    let there = vec!["fill".to_owned(), "stage".to_owned()];
    assert_eq!(
        error,
        AssemblyError::MissingEntry {
            entry: "drain".to_owned(),
            there
        }
    );
}

#[test]
fn an_entry_nobody_asked_for_is_refused() {
    let assembly = Assembly::split(TEXT).unwrap();
    assert_eq!(assembly.expect_only(&["stage", "fill"]), Ok(()));
    let error = assembly.expect_only(&["fill"]).unwrap_err();
    assert_eq!(
        error,
        AssemblyError::UnexpectedEntry {
            entry: "stage".to_owned()
        }
    );
}

#[test]
fn an_unknown_directive_is_an_error_with_its_line() {
    let error = Assembly::split(
        ".version 7.1
.alias a, b;
",
    )
    .unwrap_err();
    assert_eq!(
        error,
        AssemblyError::UnknownDirective {
            line: 2,
            found: ".alias a, b;".to_owned()
        }
    );
}

#[test]
fn a_body_without_an_end_is_an_error_with_its_line() {
    let error = Assembly::split(
        ".version 7.1

.entry k() {
 ret;",
    )
    .unwrap_err();
    assert_eq!(error, AssemblyError::Unfinished { line: 3 });
}
