//! A machine for classic BPF as the kernel runs it on system calls: strict about everything that
//! the kernel's checker refuses. It follows linux/filter.h, not the assembler.

use crate::seccomp::Instruction;

/// `struct seccomp_data`, without the instruction pointer.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub number: u32,
    pub architecture: u32,
    pub arguments: [u64; 6],
}

/// What a program answered, and the instructions it went through.
#[derive(Debug)]
pub struct Run {
    pub answer: u32,
    pub path: Vec<usize>,
}

/// Runs a program. Panics where the kernel would refuse it.
pub fn run(program: &[Instruction], data: &Data) -> Run {
    let words = words(data);
    let (mut place, mut loaded, mut path) = (0, 0, Vec::new());
    loop {
        let Instruction { code, jt, jf, k } = program[place];
        path.push(place);
        place += 1;
        match code {
            0x20 => {
                assert!(k.is_multiple_of(4), "a load that isn't aligned");
                loaded = words[k as usize / 4];
            }
            0x54 => loaded &= k,
            0x05 => place += k as usize,
            0x15 => place += usize::from(if loaded == k { jt } else { jf }),
            0x35 => place += usize::from(if loaded >= k { jt } else { jf }),
            0x45 => place += usize::from(if loaded & k != 0 { jt } else { jf }),
            0x06 => return Run { answer: k, path },
            _ => panic!("an instruction of unknown kind: {code:#x}"),
        }
    }
}

fn words(data: &Data) -> [u32; 16] {
    let mut words = [0; 16];
    words[0] = data.number;
    words[1] = data.architecture;
    // The words between hold the instruction pointer, which no program of ours may look at.
    words[2] = 0xDEAD_BEEF;
    words[3] = 0xDEAD_BEEF;
    for (place, argument) in data.arguments.iter().enumerate() {
        words[4 + 2 * place] = *argument as u32;
        words[5 + 2 * place] = (argument >> 32) as u32;
    }
    words
}
