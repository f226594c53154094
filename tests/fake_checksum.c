/* Room for the checksum of a hand-made library, which seal_archive fills in. */
__asm__(
    ".section .mattec.checksum,\"e\",@progbits\n"
    ".ascii \"mattec archive checksum 0000000000000000\"\n"
    ".previous\n");
