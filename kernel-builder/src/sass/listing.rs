//! The listing of `nvdisasm -hex` to instructions.
//!
//! ```text
//! .text.fill:                                                            function
//! .L_x_1:                                                                label
//!         /*0730*/    @P1 BRA `(.L_x_1) ;       /* 0x0000683000001947 */  address, instruction, lower word
//!                                               /* 0x000fea0003800000 */  upper word
//! ```

use std::collections::HashMap;

use super::{Control, SassError};

/// One function of machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its symbol.
    pub name: String,
    /// In the order of their addresses.
    pub instructions: Vec<Instruction>,
    /// Index of the instruction that each label stands before.
    pub labels: HashMap<String, usize>,
}

/// One machine instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Byte offset in its function.
    pub address: u64,
    /// As nvdisasm writes it, without the semicolon: `@P1 BRA `(.L_x_1)`.
    pub text: String,
    /// When it is issued.
    pub control: Control,
}

impl Instruction {
    /// The opcode with its modifiers, without a guard: `HMMA.16816.F32.BF16`.
    pub fn opcode(&self) -> &str {
        let mut words = self.text.split_whitespace();
        let is_guard = |word: &&str| word.starts_with('@');
        words.find(|word| !is_guard(word)).unwrap_or("")
    }

    /// The opcode without its modifiers: `HMMA`.
    pub fn base_opcode(&self) -> &str {
        self.opcode().split('.').next().unwrap_or("")
    }

    /// The label in its operands: where a branch goes.
    pub fn label(&self) -> Option<&str> {
        let (_, label) = self.text.split_once("`(")?;
        label.split(')').next()
    }
}

/// All functions of a listing, in its order.
///
/// # Errors
/// [`SassError::Listing`].
pub fn functions(listing: &str) -> Result<Vec<Function>, SassError> {
    let mut functions: Vec<Function> = Vec::new();
    let mut is_code = false;
    let mut lower_half = None;
    for (index, line) in listing.lines().enumerate() {
        let line = line.trim();
        let bad = || SassError::Listing {
            line: index + 1,
            found: line.to_owned(),
        };
        if line.starts_with(".section") {
            is_code = false;
        } else if let Some(name) = label(line).and_then(|name| name.strip_prefix(".text.")) {
            is_code = true;
            functions.push(Function {
                name: name.to_owned(),
                instructions: Vec::new(),
                labels: HashMap::new(),
            });
        } else if let Some(function) = functions.last_mut().filter(|_| is_code) {
            if let Some(name) = label(line) {
                let next = function.instructions.len();
                function.labels.insert(name.to_owned(), next);
            } else if let Some((address, text)) = lower_half.take() {
                let word = upper_word(line).ok_or_else(bad)?;
                function.instructions.push(Instruction {
                    address,
                    text,
                    control: Control::from_upper_word(word),
                });
            } else if line.starts_with("/*") {
                lower_half = Some(address_and_text(line).ok_or_else(bad)?);
            }
        }
    }
    Ok(functions)
}

/// The name in `name:`.
fn label(line: &str) -> Option<&str> {
    line.strip_suffix(':').filter(|name| name.starts_with('.'))
}

/// Address and instruction of `/*0730*/ @P1 BRA `(.L_x_1) ; /* 0x0000683000001947 */`.
fn address_and_text(line: &str) -> Option<(u64, String)> {
    let (address, rest) = line.strip_prefix("/*")?.split_once("*/")?;
    let (text, _) = rest.split_once("/* 0x")?;
    let address = u64::from_str_radix(address, 16).ok()?;
    Some((address, text.trim_end_matches([' ', ';']).trim().to_owned()))
}

/// The value of `/* 0x000fea0003800000 */`.
fn upper_word(line: &str) -> Option<u64> {
    let digits = line.strip_prefix("/* 0x")?.strip_suffix(" */")?;
    u64::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = include_str!("../../tests/data/two_functions.sass");

    #[test]
    fn code_is_read_and_data_is_not() {
        let functions = functions(LISTING).unwrap();
        let names: Vec<&str> = functions.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["first", "second"]);
        let opcodes = |function: &Function| -> Vec<String> {
            let opcodes = function.instructions.iter().map(Instruction::opcode);
            opcodes.map(str::to_owned).collect()
        };
        assert_eq!(opcodes(&functions[0]), ["MOV", "IADD3", "BRA", "EXIT"]);
        assert_eq!(opcodes(&functions[1]), ["EXIT"]);
    }

    #[test]
    fn an_instruction_has_its_address_guard_label_and_both_words() {
        let functions = functions(LISTING).unwrap();
        let branch = &functions[0].instructions[2];
        assert_eq!(
            (branch.address, branch.text.as_str()),
            (0x20, "@!P1 BRA `(.L_x_0)")
        );
        assert_eq!(branch.label(), Some(".L_x_0"));
        assert_eq!(branch.control.stall_cycles, 5);
        assert_eq!(
            functions[0].labels,
            HashMap::from([(".L_x_0".to_owned(), 1)])
        );
        assert_eq!(functions[0].instructions[0].label(), None);
    }

    #[test]
    fn an_instruction_without_its_second_word_is_an_error_with_its_line() {
        let listing =
            ".text.k:\n /*0000*/ NOP ; /* 0x0000000000007918 */\n /*0010*/ NOP ; /* 0x1 */\n";
        let error = functions(listing).unwrap_err().to_string();
        assert!(
            error.starts_with("line 3 of the listing is no instruction: `/*0010*/ NOP"),
            "{error}"
        );
        let error = functions(".text.k:\n/*zz*/ NOP ;\n")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("line 2"), "{error}");
    }
}
