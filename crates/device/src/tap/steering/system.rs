//! The system calls of the steering program, each with its one unsafe block: bpf(2), the mapping of an array's value
//! into this process, and the tun driver's request to take a program.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;

use rustix::io::Errno;

use super::assembler::Instruction;

const MAP_CREATE: c_int = 0;
const PROGRAM_LOAD: c_int = 5;
const PROGRAM_RUN: c_int = 10;

const MAP_TYPE_ARRAY: u32 = 2;
const MAP_CAN_BE_MAPPED: u32 = 1 << 10;
const PROGRAM_TYPE_SOCKET_FILTER: u32 = 1;
/// Helpers that only GPL programs may call are not used, so the word may be true.
const LICENCE: &std::ffi::CStr = c"MIT OR Apache-2.0";
const NAME: [u8; 16] = *b"sunstar_steer\0\0\0";
/// `_IOR('T', 224, int)`.
const SET_STEERING_PROGRAM: libc::Ioctl = 0x8004_54e0_u32 as libc::Ioctl;

/// What `MAP_CREATE` takes.
#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner_map: u32,
    numa_node: u32,
    name: [u8; 16],
}

/// What `PROGRAM_LOAD` takes.
#[repr(C)]
struct ProgramAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// What `PROGRAM_RUN` takes and answers.
#[repr(C)]
struct RunAttributes {
    program: u32,
    answer: u32,
    data_in_size: u32,
    data_out_size: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    nanoseconds: u32,
}

/// Makes an array with one value of `size` bytes, all zero, that can be mapped.
pub(super) fn create_map(size: usize) -> Result<OwnedFd, Errno> {
    let mut attributes = MapAttributes {
        map_type: MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: u32::try_from(size).map_err(|_| Errno::TOOBIG)?,
        max_entries: 1,
        flags: MAP_CAN_BE_MAPPED,
        inner_map: 0,
        numa_node: 0,
        name: NAME,
    };
    // SAFETY: these are the attributes of this command, and there is no pointer among them.
    let descriptor = unsafe { bpf(MAP_CREATE, &mut attributes) }?;
    // SAFETY: the call gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Maps the first `size` bytes of an array's values.
pub(super) fn map(file: BorrowedFd<'_>, size: usize) -> Result<NonNull<u8>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: the kernel picks a place where nothing is mapped yet.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), size, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    if at == libc::MAP_FAILED {
        return Err(last_error());
    }
    NonNull::new(at.cast()).ok_or(Errno::FAULT)
}

/// Takes a mapping away.
///
/// # Safety
/// It is one of [`map`], of this size, and nothing points into it any more.
pub(super) unsafe fn unmap(at: NonNull<u8>, size: usize) {
    // SAFETY: the caller says so. A mapping that is one cannot fail to go.
    unsafe { libc::munmap(at.as_ptr().cast(), size) };
}

/// Loads a program; with a buffer for it, the verifier writes down there what it thinks of it.
pub(super) fn load(instructions: &[Instruction], log: Option<&mut [u8]>) -> Result<OwnedFd, Errno> {
    let log = log.unwrap_or_default();
    let mut attributes = ProgramAttributes {
        program_type: PROGRAM_TYPE_SOCKET_FILTER,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: instructions.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: u32::try_from(log.len()).map_err(|_| Errno::TOOBIG)?,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        kernel_version: 0,
        flags: 0,
        name: NAME,
    };
    // SAFETY: these are the attributes of this command. The instructions and the licence are read, and the log is
    // written, within their lengths; all of them outlive the call.
    let descriptor = unsafe { bpf(PROGRAM_LOAD, &mut attributes) }?;
    // SAFETY: the call gave us this descriptor, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// What a program answered, and how long it took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) answer: u32,
    /// The mean of all runs, in nanoseconds.
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests measure by it"))]
    pub(super) nanoseconds: u32,
}

/// Runs a program over a frame as often as wanted, without sending it.
pub(super) fn run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> Result<Run, Errno> {
    let mut attributes = RunAttributes {
        program: program.as_raw_fd().cast_unsigned(),
        answer: 0,
        data_in_size: u32::try_from(frame.len()).map_err(|_| Errno::TOOBIG)?,
        data_out_size: 0,
        data_in: frame.as_ptr() as u64,
        data_out: 0,
        repeat,
        nanoseconds: 0,
    };
    // SAFETY: these are the attributes of this command; the frame is read within its length and outlives the call.
    rustix::io::retry_on_intr(|| unsafe { bpf(PROGRAM_RUN, &mut attributes) })?;
    Ok(Run { answer: attributes.answer, nanoseconds: attributes.nanoseconds })
}

/// Has the tap of this queue ask a program for the queue of each frame, or none any more.
pub(super) fn set_steering(queue: BorrowedFd<'_>, program: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
    let program: RawFd = program.map_or(-1, |program| program.as_raw_fd());
    // SAFETY: this request reads one int through its argument.
    match unsafe { libc::ioctl(queue.as_raw_fd(), SET_STEERING_PROGRAM, &raw const program) } {
        0.. => Ok(()),
        _ => Err(last_error()),
    }
}

/// The system call.
///
/// # Safety
/// `T` is how the kernel's `union bpf_attr` begins for this command, without padding, and the pointers in it may be
/// used as the command does.
unsafe fn bpf<T>(command: c_int, attributes: &mut T) -> Result<RawFd, Errno> {
    // SAFETY: the attributes are read and written within their length; for the rest the caller stands.
    let returned =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) };
    if returned < 0 { Err(last_error()) } else { RawFd::try_from(returned).map_err(|_| Errno::RANGE) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
