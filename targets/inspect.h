// What is in a compiled library, read from its machine code: nothing here trusts what the compiler
// believes it wrote.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mattec::targets {

// Of the archive's members with micro-kernels: kernels call them, so their stack is one more level.
constexpr char microkernel_member_suffix[] = "_microkernel.o";

struct FunctionContents {
  std::string name, member;  // symbol; object file of the archive
  uint64_t bytes = 0;
  uint64_t instructions = 0;
  uint64_t dot_products = 0;  // instructions that multiply and add 8- or 16-bit integers
  uint64_t stack_bytes = 0;   // its own frame: pushes, stack pointer decrement, alignment
};

struct LibraryContents {
  std::string architecture;            // "x86_64"
  std::string checksum;                // of the file; empty of an archive in memory
  uint64_t text_bytes = 0;             // machine code
  uint64_t constant_bytes = 0;         // read-only data: weights and tables (relocated ones too)
  uint64_t data_bytes = 0;             // writable, initialised or not: none, if all is well
  uint64_t stack_bytes = 0;            // upper bound of a thread's stack inside mattec_step
  std::vector<std::string> undefined;  // symbols that no member defines, sorted
  std::vector<std::string> exported;   // global symbols that a linker sees, sorted
  std::vector<FunctionContents> functions;
};

// `path`: an archive of any architecture that LLVM disassembles. Throws Error where it is missing,
// damaged, or no archive of objects.
LibraryContents inspect_library(const std::string& path);

// The same for an archive in memory; errors call it `name`.
LibraryContents inspect_archive(const std::string& name, const std::vector<uint8_t>& archive);

// True for the mnemonics that FunctionContents::dot_products counts.
bool is_dot_product(const std::string& mnemonic);

}  // namespace mattec::targets
