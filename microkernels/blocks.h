/* How a micro-kernel's output channels are divided: what it and lower::pack_dense must agree on. */
#ifndef MATTEC_MICROKERNELS_BLOCKS_H
#define MATTEC_MICROKERNELS_BLOCKS_H

/* Units in the next block where `units` are left and a block has at most `most` of them: blocks are
 * even, six units by at most five are three and three. */
static inline int mattec_block_units(int units, int most) {
  const int blocks = (units + most - 1) / most;
  return (units + blocks - 1) / blocks;
}

#endif
