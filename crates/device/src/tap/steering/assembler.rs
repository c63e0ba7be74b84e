//! An assembler for the kernel's BPF machine (RFC 9669): as much of it as the steering program takes.

use std::os::fd::{AsRawFd, BorrowedFd};

/// A register. The first holds a call's answer and the program's; the next five are a call's arguments, and lost
/// in it; four are kept; the last points behind the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// How much a load or a store moves.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Size {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
    Double = 0x18,
}

/// When a jump is taken.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Condition {
    Equal = 0x10,
    AnyBitOf = 0x40,
    NotEqual = 0x50,
    Below = 0xa0,
    SignedBelow = 0xc0,
}

/// The second operand: a register, or a number that is extended with its sign.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operand {
    Register(Register),
    Immediate(i32),
}

impl From<Register> for Operand {
    fn from(register: Register) -> Self {
        Self::Register(register)
    }
}

impl From<i32> for Operand {
    fn from(number: i32) -> Self {
        Self::Immediate(number)
    }
}

/// A place in the program that can be jumped to, also before it is known where that is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(usize);

/// One instruction, or half of one that takes two, as the kernel reads it (`struct bpf_insn`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

impl Instruction {
    fn new(code: u8, destination: Register, source: u8, offset: i16, immediate: i32) -> Self {
        // Two bit fields of C, which begin at the other end on big-endian machines.
        let registers = if cfg!(target_endian = "little") {
            source << 4 | destination as u8
        } else {
            (destination as u8) << 4 | source
        };
        Self { code, registers, offset, immediate }
    }
}

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    /// Where each label is; nothing until it has been placed.
    labels: Vec<Option<usize>>,
    /// The jumps, each with the label it goes to.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label that is still to be placed.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Has the label mean the next instruction.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// Sets a register.
    pub(super) fn set(&mut self, destination: Register, to: impl Into<Operand>) {
        self.arithmetic(0xb0, destination, to.into());
    }

    /// Adds to all 64 bits.
    pub(super) fn add(&mut self, destination: Register, what: impl Into<Operand>) {
        self.arithmetic(0x00, destination, what.into());
    }

    /// Subtracts from all 64 bits.
    pub(super) fn subtract(&mut self, destination: Register, what: impl Into<Operand>) {
        self.arithmetic(0x10, destination, what.into());
    }

    /// Keeps some bits.
    pub(super) fn and(&mut self, destination: Register, what: impl Into<Operand>) {
        self.arithmetic(0x50, destination, what.into());
    }

    /// Exclusive or.
    pub(super) fn xor(&mut self, destination: Register, what: impl Into<Operand>) {
        self.arithmetic(0xa0, destination, what.into());
    }

    /// Shifts towards the more significant bits.
    pub(super) fn shift_left(&mut self, destination: Register, bits: i32) {
        self.arithmetic(0x60, destination, bits.into());
    }

    /// Shifts towards the less significant bits; zeros come in.
    pub(super) fn shift_right(&mut self, destination: Register, bits: i32) {
        self.arithmetic(0x70, destination, bits.into());
    }

    /// Reads the lowest 16, 32 or 64 bits as a number in network byte order; those above become zero.
    pub(super) fn big_endian(&mut self, destination: Register, bits: i32) {
        self.instructions.push(Instruction::new(0xdc, destination, 0, 0, bits));
    }

    /// Loads from memory, with zeros above.
    pub(super) fn load(&mut self, size: Size, destination: Register, base: Register, offset: i16) {
        self.instructions.push(Instruction::new(0x61 | size as u8, destination, base as u8, offset, 0));
    }

    /// Stores the lowest bits of a register.
    pub(super) fn store(&mut self, size: Size, base: Register, offset: i16, source: Register) {
        self.instructions.push(Instruction::new(0x63 | size as u8, base, source as u8, offset, 0));
    }

    /// Sets a register to a number of 64 bits.
    pub(super) fn set_wide(&mut self, destination: Register, to: u64) {
        self.two_slots(destination, 0, to as u32 as i32, (to >> 32) as i32);
    }

    /// Sets a register to the address of the one value of an array in the kernel.
    pub(super) fn set_to_value_of(&mut self, destination: Register, map: BorrowedFd<'_>) {
        const MAP_VALUE: u8 = 2;
        self.two_slots(destination, MAP_VALUE, map.as_raw_fd(), 0);
    }

    /// Goes on at the label.
    pub(super) fn jump(&mut self, to: Label) {
        self.jumps.push((self.instructions.len(), to));
        self.instructions.push(Instruction::new(0x05, Register::R0, 0, 0, 0));
    }

    /// Goes on at the label, if the comparison of all 64 bits holds.
    pub(super) fn jump_if(
        &mut self,
        left: Register,
        condition: Condition,
        right: impl Into<Operand>,
        to: Label,
    ) {
        self.jumps.push((self.instructions.len(), to));
        self.with_operand(0x05 | condition as u8, left, right.into());
    }

    /// Calls one of the kernel's functions by its number.
    pub(super) fn call(&mut self, function: i32) {
        self.instructions.push(Instruction::new(0x85, Register::R0, 0, 0, function));
    }

    /// Ends the program, with the first register as its answer.
    pub(super) fn exit(&mut self) {
        self.instructions.push(Instruction::new(0x95, Register::R0, 0, 0, 0));
    }

    /// The program. A jump to a label that was never placed, or that is too far away, leads out of the program,
    /// and the kernel refuses it.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        for (at, label) in self.jumps {
            // A jump is counted from the instruction behind it.
            let distance = self.labels[label.0].map(|place| place as i64 - at as i64 - 1);
            let distance = distance.and_then(|distance| i16::try_from(distance).ok());
            self.instructions[at].offset = distance.unwrap_or(i16::MAX);
        }
        self.instructions
    }

    fn arithmetic(&mut self, operation: u8, destination: Register, operand: Operand) {
        self.with_operand(0x07 | operation, destination, operand);
    }

    fn with_operand(&mut self, code: u8, destination: Register, operand: Operand) {
        const FROM_REGISTER: u8 = 0x08;
        self.instructions.push(match operand {
            Operand::Register(source) => {
                Instruction::new(code | FROM_REGISTER, destination, source as u8, 0, 0)
            }
            Operand::Immediate(number) => Instruction::new(code, destination, 0, 0, number),
        });
    }

    fn two_slots(&mut self, destination: Register, kind: u8, low: i32, high: i32) {
        self.instructions.push(Instruction::new(0x18, destination, kind, 0, low));
        self.instructions.push(Instruction::new(0x00, Register::R0, 0, 0, high));
    }
}

#[cfg(test)]
mod tests;
