//! A fault as people read it: the rule, the accesses or warps concerned, the place, the way out.

use std::fmt;

use super::{Conflict, Fault, FaultKind};

impl Fault {
    /// The fault over several lines. The first is the sanitizer and the rule, the last the way out.
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }
}

/// A [`Fault`] as several lines of text.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a>(&'a Fault);

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = self.0;
        match fault.kind.sanitizer() {
            Some(sanitizer) => writeln!(f, "{sanitizer}: {}", rule(&fault.kind))?,
            None => writeln!(f, "fault: {}", rule(&fault.kind))?,
        }
        for detail in details(&fault.kind) {
            writeln!(f, "  {detail}")?;
        }
        match &fault.kind {
            FaultKind::Launch(_)
            | FaultKind::Race(_)
            | FaultKind::NonCoherentWrite(_)
            | FaultKind::Proxy(_) => {
                writeln!(f, "  kernel {}", fault.entry)?;
            }
            _ => writeln!(f, "  kernel {}", fault.place())?,
        }
        writeln!(f, "  help: {}", fault.kind.help())
    }
}

/// The broken rule, without what stands on lines of its own.
fn rule(kind: &FaultKind) -> String {
    match kind {
        FaultKind::Launch(rule) => format!("the launch is refused: {rule}"),
        FaultKind::AlignedDivergent { .. } => {
            "an aligned instruction needs the whole warp at one place".to_string()
        }
        FaultKind::WarpDeadlock { .. } => "the lanes of a warp wait for each other".to_string(),
        FaultKind::RegisterDeadlock { .. } => {
            "deadlock in the register pool: no warp of the block can go on".to_string()
        }
        FaultKind::Deadlock { standing } if standing.blocks.len() > 1 => {
            "deadlock: no warp of the cluster can go on".to_string()
        }
        FaultKind::Deadlock { .. } => "deadlock: no warp of the block can go on".to_string(),
        FaultKind::InstructionLimit { limit, .. } => {
            format!("a block has executed {limit} warp instructions without ending")
        }
        FaultKind::Race(conflict)
        | FaultKind::NonCoherentWrite(conflict)
        | FaultKind::Proxy(conflict) => conflict.rule(),
        kind => kind.to_string(),
    }
}

/// The accesses, lanes or warps concerned, a line each.
fn details(kind: &FaultKind) -> Vec<String> {
    match kind {
        FaultKind::AlignedDivergent { places } | FaultKind::WarpDeadlock { places } => {
            places.iter().map(ToString::to_string).collect()
        }
        FaultKind::Deadlock { standing }
        | FaultKind::RegisterDeadlock { standing }
        | FaultKind::InstructionLimit { standing, .. } => standing.sentences().collect(),
        FaultKind::Race(conflict)
        | FaultKind::NonCoherentWrite(conflict)
        | FaultKind::Proxy(conflict) => {
            vec![
                format!("(1) {}", conflict.first),
                format!("(2) {}", conflict.second),
            ]
        }
        FaultKind::AsyncReadEarly { copy, .. } | FaultKind::AsyncOverlap { copy, .. } => {
            copy.iter().map(ToString::to_string).collect()
        }
        FaultKind::Bulk(rule) => rule.copy().iter().map(ToString::to_string).collect(),
        _ => Vec::new(),
    }
}

impl Conflict {
    fn rule(&self) -> String {
        let (first, second) = (self.first.access, self.second.access);
        let (space, address, missing) = (self.space, self.address, self.missing);
        format!("{first} (1) and {second} (2) of {space} address {address:#x}, {missing}")
    }
}

#[cfg(test)]
mod tests {
    use crate::{AccessKind, Conflict, Fault, FaultKind, Party};

    #[test]
    fn a_race_names_both_parties_on_lines_of_their_own() {
        let party = |access, warp, line, source| Party {
            access,
            block: [2, 0, 0],
            warp,
            lane: 5,
            line,
            source,
        };
        let conflict = Conflict {
            space: "shared",
            address: 0x40,
            first: party(
                AccessKind::Write,
                0,
                31,
                Some(("src/fwd.rs".to_string(), 7)),
            ),
            second: party(AccessKind::Read, 1, 44, None),
            missing: "no barrier between them",
        };
        let fault = Fault {
            kind: FaultKind::Race(Box::new(conflict)),
            entry: "k".into(),
            line: 44,
            source: None,
            block: [2, 0, 0],
            warp: 1,
            lane: Some(5),
        };
        let expected = "\
racecheck: write (1) and read (2) of shared address 0x40, no barrier between them
  (1) write by block (2, 0, 0) warp 0 lane 5 at PTX line 31 (src/fwd.rs:7)
  (2) read by block (2, 0, 0) warp 1 lane 5 at PTX line 44
  kernel k
  help: put a bar.sync between the two that both warps execute
";
        assert_eq!(fault.report().to_string(), expected);
    }
}
