// LLVM's intermediate representation as an object file.
#pragma once

#include <llvm/IR/Module.h>

#include "targets/objects.h"

namespace mattec::targets {

// Sets the module's triple and data layout. Throws Error if this LLVM does not know the target.
Bytes emit_object(llvm::Module& module, const Target& target);

}  // namespace mattec::targets
