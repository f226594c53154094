/* ARMv8.0: smlal of bytes adds 8 products to 8 sums of 16 bits, which hold few of them (4-bit
 * weights or inputs: 31 of s8 and s4) and then go to 32 bits, in memory. Weights as
 * lower::pack_dense makes them with a depth of 4 and blocks of 8: a register has the weights of 8
 * outputs for two channels. */
#include <arm_neon.h>

#include "microkernels/accumulate.h"

enum { GROUP = 4 }; /* channels that ld4r loads, each duplicated into a register */

#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)

#define UNITS 1
#define PIXELS 8
#define TOGETHER 4
#include "microkernels/smlal_tile.h"
#define UNITS 2
#define PIXELS 6
#define TOGETHER 3
#include "microkernels/smlal_tile.h"
#define UNITS 3
#define PIXELS 4
#define TOGETHER 2
#include "microkernels/smlal_tile.h"
#define UNITS 4
#define PIXELS 4
#define TOGETHER 2
#include "microkernels/smlal_tile.h"

static void accumulate(const mattec_row* row) {
  static const mattec_add_tiles add_tiles[] = {add_tiles_1, add_tiles_2, add_tiles_3, add_tiles_4};
  mattec_add_blocks(row, add_tiles, sizeof add_tiles / sizeof add_tiles[0], 8);
}

MATTEC_DEFINE_ACCUMULATE(accumulate_smlal)
