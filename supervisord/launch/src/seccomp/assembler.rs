//! Writes a classic BPF program from its end to its beginning. All jumps go forward, so whatever
//! an instruction jumps to has been written before it, and its distance is known.

use crate::seccomp::{Action, Instruction};

/// Load a word of `struct seccomp_data` (BPF_LD | BPF_W | BPF_ABS).
const LOAD: u16 = 0x20;
/// Keep only the operand's bits (BPF_ALU | BPF_AND | BPF_K).
const AND: u16 = 0x54;
/// Go on elsewhere, as far as the operand says (BPF_JMP | BPF_JA).
const JUMP: u16 = 0x05;
/// Equal to the operand? (BPF_JMP | BPF_JEQ | BPF_K)
const EQUAL: u16 = 0x15;
/// At least the operand? (BPF_JMP | BPF_JGE | BPF_K)
const AT_LEAST: u16 = 0x35;
/// Any of the operand's bits? (BPF_JMP | BPF_JSET | BPF_K)
const ANY_BIT: u16 = 0x45;
/// End with the operand as the answer (BPF_RET | BPF_K).
const RETURN: u16 = 0x06;

/// A comparison of the loaded word with a number.
#[derive(Debug, Clone, Copy)]
pub enum Comparison {
    Equal(u32),
    AtLeast(u32),
    AnyBit(u32),
}

/// An instruction that was written, counted from the end of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// A program under way, last instruction first.
#[derive(Debug, Default)]
pub struct Assembler {
    written: Vec<Instruction>,
    /// Instructions that end with an answer, the nearest last.
    answers: Vec<(u32, Label)>,
}

impl Assembler {
    /// An instruction that ends with an action: one that is in reach of the next few, or a new one.
    pub fn answer(&mut self, action: Action) -> Label {
        self.answer_with(answer_value(action))
    }

    /// Loads the word at this offset, then goes on at `next`.
    pub fn load(&mut self, offset: u32, next: Label) -> Label {
        self.before(next, LOAD, offset)
    }

    /// Keeps only these bits of the loaded word, then goes on at `next`.
    pub fn keep(&mut self, bits: u32, next: Label) -> Label {
        self.before(next, AND, bits)
    }

    /// Goes on at `yes` or `no`, by what the comparison says of the loaded word.
    pub fn branch(&mut self, comparison: Comparison, mut yes: Label, mut no: Label) -> Label {
        if yes == no {
            return yes;
        }
        let (code, k) = match comparison {
            Comparison::Equal(k) => (EQUAL, k),
            Comparison::AtLeast(k) => (AT_LEAST, k),
            Comparison::AnyBit(k) => (ANY_BIT, k),
        };
        // A relay is written right behind the branch, so each side needs at most one.
        loop {
            match (self.distance(yes), self.distance(no)) {
                (Some(jt), Some(jf)) => return self.write(Instruction { code, jt, jf, k }),
                (None, _) => yes = self.relay(yes),
                (_, None) => no = self.relay(no),
            }
        }
    }

    /// The program, first instruction first; what was written last is where it begins.
    pub fn finish(mut self) -> Vec<Instruction> {
        self.written.reverse();
        self.written
    }

    /// Writes an instruction that goes on with the next, which has to be `next`.
    fn before(&mut self, next: Label, code: u16, k: u32) -> Label {
        if self.gap(next) != 0 {
            self.jump(next);
        }
        self.write(Instruction { code, jt: 0, jf: 0, k })
    }

    /// Brings a label into reach: another answer of the same value, or a jump.
    fn relay(&mut self, to: Label) -> Label {
        match self.written.get(to.0) {
            Some(Instruction { code: RETURN, k, .. }) => self.answer_with(*k),
            _ => self.jump(to),
        }
    }

    fn jump(&mut self, to: Label) -> Label {
        let k = u32::try_from(self.gap(to)).unwrap_or(u32::MAX);
        self.write(Instruction { code: JUMP, jt: 0, jf: 0, k })
    }

    fn answer_with(&mut self, value: u32) -> Label {
        let nearest = self.answers.iter().rev().find(|(known, _)| *known == value);
        if let Some((_, label)) = nearest.filter(|(_, label)| self.distance(*label).is_some()) {
            return *label;
        }
        let label = self.write(Instruction { code: RETURN, jt: 0, jf: 0, k: value });
        self.answers.push((value, label));
        label
    }

    fn write(&mut self, instruction: Instruction) -> Label {
        self.written.push(instruction);
        Label(self.written.len() - 1)
    }

    /// The offset of a jump from the next instruction to be written, if a branch can hold it.
    fn distance(&self, to: Label) -> Option<u8> {
        u8::try_from(self.gap(to)).ok()
    }

    /// How many instructions lie between the next one to be written and a label.
    fn gap(&self, to: Label) -> usize {
        self.written.len() - 1 - to.0
    }
}

/// The filter's return value for an action (SECCOMP_RET_*).
pub const fn answer_value(action: Action) -> u32 {
    match action {
        Action::Allow => 0x7FFF_0000,
        Action::Fail(errno) => 0x0005_0000 | errno as u32,
        Action::Ask => 0x7FC0_0000,
        Action::Kill => 0x8000_0000,
    }
}
