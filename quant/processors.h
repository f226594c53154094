// How LibTorch uses the processor, for a command that has the machine to itself; a library's caller
// chooses on its own.
#pragma once

namespace mattec::quant {

// One thread of LibTorch per processor, where its own default is one per physical core: 1.5 to 2
// times as fast. OpenBLAS, whose threads would spin beside them, is kept to one, and made to use
// the processor's vectors. Not while anything is being computed.
void use_all_processors();

}  // namespace mattec::quant
