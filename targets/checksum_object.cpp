#include <llvm/IR/Module.h>

#include "base/checksum.h"
#include "targets/checksums.h"
#include "targets/emit_object.h"

namespace mattec::targets {

// As assembly, since a variable of the module would have a symbol and memory in the program. "e":
// SHF_EXCLUDE, so that not even --whole-archive brings it into a program.
Bytes emit_checksum(const Target& target) {
  llvm::LLVMContext context;
  llvm::Module module("checksum", context);
  module.setModuleInlineAsm(".section .mattec.checksum,\"e\",@progbits\n.ascii \"" +
                            std::string(archive_marker) + std::string(checksum_digits, '0') +
                            "\"\n");
  return emit_object(module, target);
}

}  // namespace mattec::targets
