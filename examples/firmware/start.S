/* Start-up for a 64-bit ARM processor at exception level 1 without an operating system: stack,
 * floating point, memory map, exceptions, then main. Written for qemu's board "virt"; a real board
 * has another memory map (memory.ld and `map` below) and its own clock and memory set-up. */
    .section .text.start, "ax"
    .global _start
_start:
    mrs     x0, mpidr_el1           /* the first core alone goes on */
    tst     x0, #0xff
    b.eq    1f
0:  wfe
    b       0b

1:  ldr     x0, =__stack_top
    mov     sp, x0
    ldr     x0, =vectors
    msr     vbar_el1, x0
    mov     x0, #(3 << 20)          /* CPACR_EL1.FPEN: no traps on floating point and NEON */
    msr     cpacr_el1, x0

    /* Kernels load vectors that are not aligned, which only Normal memory allows: so the MMU must
     * be on. One table of 1 GiB blocks at addresses that stay as they are. */
    ldr     x0, =0x000000000000ff00 /* MAIR_EL1: attribute 0 device, 1 normal write-back */
    msr     mair_el1, x0
    ldr     x0, =0x0000000200803519 /* TCR_EL1: 39 bits, 4 KiB, write-back walks, TTBR1 off */
    msr     tcr_el1, x0
    ldr     x0, =map
    msr     ttbr0_el1, x0
    tlbi    vmalle1
    dsb     sy
    isb
    mrs     x0, sctlr_el1
    mov     x1, #0x1005             /* M, C, I: MMU and caches */
    orr     x0, x0, x1
    bic     x0, x0, #2              /* A: no alignment faults */
    msr     sctlr_el1, x0
    isb

    ldr     x0, =__bss_start
    ldr     x1, =__bss_end
2:  cmp     x0, x1
    b.hs    3f
    stp     xzr, xzr, [x0], #16
    b       2b

3:  bl      main
    bl      semihosting_exit

/* All exceptions end the program: which one, where, and about which address. */
    .balign 2048
vectors:
    .rept   16
    .balign 128
    mrs     x0, esr_el1
    mrs     x1, elr_el1
    mrs     x2, far_el1
    b       fault
    .endr

    .section .rodata.map, "a"
    .balign 4096
map:
    .quad   0x0060000000000401      /* 0 to 1 GiB: devices, never executed */
    .quad   0x0000000040000705      /* 1 to 2 GiB: RAM, normal, inner shareable */
    .fill   510, 8, 0               /* anything else faults */
