//! The encodings of RFC 9669, section 3 and on, written down byte by byte as a little-endian machine has them.

use std::os::fd::AsFd;

use super::Condition::{Below, SignedBelow};
use super::Register::{R0, R1, R2, R6, R10};
use super::Size::{Byte, Double, Half, Word};
use super::*;

fn assembled(write: impl FnOnce(&mut Assembler)) -> Vec<[u8; 8]> {
    let mut assembler = Assembler::default();
    write(&mut assembler);
    assembler.finish().into_iter().map(bytes).collect()
}

fn bytes(Instruction { code, registers, offset, immediate }: Instruction) -> [u8; 8] {
    let [o0, o1] = offset.to_le_bytes();
    let [i0, i1, i2, i3] = immediate.to_le_bytes();
    let registers = if cfg!(target_endian = "little") { registers } else { registers.rotate_left(4) };
    [code, registers, o0, o1, i0, i1, i2, i3]
}

#[test]
fn arithmetic_takes_a_number_or_a_register() {
    let program = assembled(|program| {
        program.set(R0, 2);
        program.set(R6, R1);
        program.add(R10, -8);
        program.add(R2, R1);
        program.subtract(R1, R6);
        program.and(R1, 0x0f);
        program.xor(R0, R1);
        program.shift_left(R1, 2);
        program.shift_right(R1, 4);
    });
    let expected = [
        [0xb7, 0x00, 0, 0, 2, 0, 0, 0],
        [0xbf, 0x16, 0, 0, 0, 0, 0, 0],
        [0x07, 0x0a, 0, 0, 0xf8, 0xff, 0xff, 0xff],
        [0x0f, 0x12, 0, 0, 0, 0, 0, 0],
        [0x1f, 0x61, 0, 0, 0, 0, 0, 0],
        [0x57, 0x01, 0, 0, 0x0f, 0, 0, 0],
        [0xaf, 0x10, 0, 0, 0, 0, 0, 0],
        [0x67, 0x01, 0, 0, 2, 0, 0, 0],
        [0x77, 0x01, 0, 0, 4, 0, 0, 0],
    ];
    assert_eq!(program, expected);
}

#[test]
fn loads_and_stores_name_their_size_and_place() {
    let program = assembled(|program| {
        program.load(Byte, R1, R10, -1);
        program.load(Half, R1, R10, -2);
        program.load(Word, R1, R10, -4);
        program.load(Double, R1, R10, -8);
        program.store(Half, R10, -2, R1);
        program.store(Word, R10, -4, R1);
        program.big_endian(R1, 16);
    });
    let expected = [
        [0x71, 0xa1, 0xff, 0xff, 0, 0, 0, 0],
        [0x69, 0xa1, 0xfe, 0xff, 0, 0, 0, 0],
        [0x61, 0xa1, 0xfc, 0xff, 0, 0, 0, 0],
        [0x79, 0xa1, 0xf8, 0xff, 0, 0, 0, 0],
        [0x6b, 0x1a, 0xfe, 0xff, 0, 0, 0, 0],
        [0x63, 0x1a, 0xfc, 0xff, 0, 0, 0, 0],
        [0xdc, 0x01, 0, 0, 16, 0, 0, 0],
    ];
    assert_eq!(program, expected);
}

#[test]
fn a_wide_number_and_the_address_of_a_map_take_two_slots() {
    let map = std::fs::File::open("/dev/null").unwrap();
    let descriptor = map.as_raw_fd().to_le_bytes();
    let program = assembled(|program| {
        program.set_wide(R2, 0x0123_4567_89ab_cdef);
        program.set_to_value_of(R1, map.as_fd());
    });
    let [d0, d1, d2, d3] = descriptor;
    let expected = [
        [0x18, 0x02, 0, 0, 0xef, 0xcd, 0xab, 0x89],
        [0x00, 0x00, 0, 0, 0x67, 0x45, 0x23, 0x01],
        [0x18, 0x21, 0, 0, d0, d1, d2, d3],
        [0x00, 0x00, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(program, expected);
}

#[test]
fn jumps_go_forward_and_back_to_where_their_labels_are() {
    let program = assembled(|program| {
        let (start, end) = (program.label(), program.label());
        program.place(start);
        program.jump_if(R1, Below, 20, end);
        program.jump_if(R1, SignedBelow, R2, end);
        program.call(68);
        program.jump(start);
        program.place(end);
        program.exit();
    });
    let expected = [
        [0xa5, 0x01, 3, 0, 20, 0, 0, 0],
        [0xcd, 0x21, 2, 0, 0, 0, 0, 0],
        [0x85, 0x00, 0, 0, 68, 0, 0, 0],
        [0x05, 0x00, 0xfc, 0xff, 0, 0, 0, 0],
        [0x95, 0x00, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(program, expected);
}

#[test]
fn a_jump_to_nowhere_or_too_far_leads_out_of_the_program() {
    let program = assembled(|program| {
        let (never_placed, far) = (program.label(), program.label());
        program.jump(never_placed);
        program.jump(far);
        (0..40_000).for_each(|_| program.set(R0, 0));
        program.place(far);
        program.exit();
    });
    assert_eq!(program[..2], [[0x05, 0, 0xff, 0x7f, 0, 0, 0, 0]; 2]);
}
