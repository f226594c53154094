#include "targets/inspect.h"

#include <llvm/Object/ELFObjectFile.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include "base/error.h"
#include "targets/archive_members.h"
#include "targets/disassembler.h"
#include "targets/llvm_error.h"

namespace mattec::targets {
namespace {

using llvm::object::ELFObjectFileBase;
using llvm::object::SectionRef;
using llvm::object::SymbolRef;

// The same on ARM: `sub sp, sp, #96`, `sub sp, sp, #3, lsl #12`, `stp x29, x30, [sp, #-16]!`; where
// the frame is aligned `sub x9, sp, #112`, `and sp, x9, #0xffffffffffffffc0`.
uint64_t stack_growth_on_arm(const Instruction& instruction) {
  const std::string& operands = instruction.operands;
  const size_t hash = operands.find('#');
  if (hash == std::string::npos) return 0;
  const int64_t amount = std::strtoll(operands.c_str() + hash + 1, nullptr, 0);
  if (instruction.mnemonic == "sub" && operands.find(" sp,") != std::string::npos) {
    const bool is_shifted = operands.find("lsl #12") != std::string::npos;
    return static_cast<uint64_t>(amount) << (is_shifted ? 12 : 0);
  }
  if (instruction.mnemonic == "and" && operands.compare(0, 3, "sp,") == 0) return 63;
  const bool pushes = operands.find("[sp, #-") != std::string::npos && operands.back() == '!';
  return pushes ? static_cast<uint64_t>(-amount) : 0;
}

// What an instruction at a function's start adds to its frame on x86-64.
uint64_t stack_growth_on_x86(const Instruction& instruction) {
  if (instruction.mnemonic.compare(0, 4, "push") == 0) return 8;
  const size_t comma = instruction.operands.find(',');
  if (instruction.operands.size() < 5 || instruction.operands[0] != '$' ||
      instruction.operands.find("%rsp", comma) == std::string::npos)
    return 0;
  const int64_t amount = std::strtoll(instruction.operands.c_str() + 1, nullptr, 0);
  if (instruction.mnemonic == "subq") return static_cast<uint64_t>(std::max<int64_t>(amount, 0));
  if (instruction.mnemonic == "addq") return static_cast<uint64_t>(std::max<int64_t>(-amount, 0));
  // andq $-64, %rsp: alignment, at most 63 more bytes.
  if (instruction.mnemonic == "andq") return static_cast<uint64_t>(std::max<int64_t>(-amount, 0));
  return 0;
}

bool is_microkernel(const std::string& symbol) {
  return symbol.find("_accumulate_") != std::string::npos;
}

// One object file of the archive, counted into the contents of the whole.
class Member {
 public:
  Member(const std::string& path, std::string name, const ELFObjectFileBase& object,
         LibraryContents& contents)
      : path_(path), name_(std::move(name)), object_(object), contents_(contents) {}

  // `callers`: members whose kernel calls a micro-kernel.
  void count(std::set<std::string>& defined, std::set<std::string>& wanted,
             std::set<std::string>& callers) {
    for (const SectionRef& section : object_.sections()) count_section(section);
    std::set<std::string> its;
    for (const SymbolRef& symbol : object_.symbols()) count_symbol(symbol, defined, its);
    if (std::any_of(its.begin(), its.end(), is_microkernel)) callers.insert(name_);
    wanted.merge(its);
  }

 private:
  void count_section(const SectionRef& section) {
    const uint64_t flags = llvm::object::ELFSectionRef(section).getFlags();
    const std::string name = unwrap(path_, "damaged section", section.getName()).str();
    if ((flags & llvm::ELF::SHF_ALLOC) == 0 || name == ".eh_frame") return;
    // Pointers to functions make a constant table "writable until relocated".
    const bool relocated = name.compare(0, 12, ".data.rel.ro") == 0;
    if ((flags & llvm::ELF::SHF_EXECINSTR) != 0)
      contents_.text_bytes += section.getSize();
    else if ((flags & llvm::ELF::SHF_WRITE) != 0 && !relocated)
      contents_.data_bytes += section.getSize();
    else
      contents_.constant_bytes += section.getSize();
  }

  void count_symbol(const SymbolRef& symbol, std::set<std::string>& defined,
                    std::set<std::string>& wanted) {
    const uint32_t flags = unwrap(path_, "damaged symbol", symbol.getFlags());
    const std::string name = unwrap(path_, "damaged symbol", symbol.getName()).str();
    if ((flags & SymbolRef::SF_Undefined) != 0) {
      if (!name.empty()) wanted.insert(name);
      return;
    }
    if ((flags & SymbolRef::SF_Global) != 0) defined.insert(name);
    if (unwrap(path_, "damaged symbol", symbol.getType()) == SymbolRef::ST_Function)
      count_function(symbol, name);
  }

  void count_function(const SymbolRef& symbol, const std::string& name) {
    const llvm::object::section_iterator section =
        unwrap(path_, "damaged symbol", symbol.getSection());
    if (section == object_.section_end()) return;
    const llvm::StringRef code = unwrap(path_, "damaged section", section->getContents());
    const uint64_t start =
        unwrap(path_, "damaged symbol", symbol.getAddress()) - section->getAddress();
    const uint64_t size = llvm::object::ELFSymbolRef(symbol).getSize();
    if (start > code.size() || size > code.size() - start)
      throw Error(path_ + ": function " + name +
                  " reaches beyond its section; the file is damaged");
    if (!disassembler_) disassembler_.emplace(object_.makeTriple());

    const auto growth =
        object_.makeTriple().isAArch64() ? stack_growth_on_arm : stack_growth_on_x86;
    FunctionContents function{name, name_, size, 0, 0, 0};
    disassembler_->walk(llvm::arrayRefFromStringRef(code.substr(start, size)),
                        [&function, growth](const Instruction& instruction) {
                          ++function.instructions;
                          function.dot_products += is_dot_product(instruction.mnemonic);
                          function.stack_bytes += growth(instruction);
                        });
    contents_.functions.push_back(function);
  }

  const std::string& path_;
  std::string name_;
  const ELFObjectFileBase& object_;
  LibraryContents& contents_;
  std::optional<Disassembler> disassembler_;
};

// The frames of each object file: no function of a library calls itself, so every function of the
// runtime is at most once on the way down from mattec_step. Below are the functions of one kernel
// (its own and the one that unpacks its arguments), which may call a micro-kernel, which calls one
// function for a tile after the other. A function that calls no other may use
// the red zone, 128 bytes below the stack pointer; only the last one does so.
// Those are x86's; on ARM the return address is among what a frame stores, and there is no red
// zone.
uint64_t stack_bound(const std::vector<FunctionContents>& functions,
                     const std::set<std::string>& callers, bool is_x86) {
  const uint64_t return_address = is_x86 ? 8 : 0, red_zone = is_x86 ? 128 : 0;
  std::map<std::string, uint64_t> kernels;
  uint64_t runtime = 0, microkernel = 0, tile = 0;
  for (const FunctionContents& function : functions) {
    const llvm::StringRef member = function.member;
    const uint64_t bytes = function.stack_bytes + return_address;
    if (member.ends_with("_runtime.o"))
      runtime += bytes;
    else if (!member.ends_with(microkernel_member_suffix))
      kernels[function.member] += bytes;
    else if (is_microkernel(function.name))
      microkernel = std::max(microkernel, bytes);
    else
      tile = std::max(tile, bytes);
  }
  uint64_t deepest = 0;
  for (const auto& [member, bytes] : kernels)
    deepest = std::max(deepest, bytes + (callers.count(member) > 0 ? microkernel + tile : 0));
  return runtime + deepest + red_zone;
}

LibraryContents inspect(const std::string& path, llvm::MemoryBufferRef archive) {
  LibraryContents contents;
  std::set<std::string> defined, wanted, callers;
  bool is_x86 = false;
  for (const ArchiveMember& member : archive_members(path, archive)) {
    contents.architecture = llvm::Triple::getArchTypeName(member.object->getArch()).str();
    is_x86 = member.object->getArch() == llvm::Triple::x86_64;
    Member(path, member.name, llvm::cast<ELFObjectFileBase>(*member.object), contents)
        .count(defined, wanted, callers);
  }
  std::set_difference(wanted.begin(), wanted.end(), defined.begin(), defined.end(),
                      std::back_inserter(contents.undefined));
  contents.exported.assign(defined.begin(), defined.end());
  contents.stack_bytes = stack_bound(contents.functions, callers, is_x86);
  return contents;
}

}  // namespace

bool is_dot_product(const std::string& mnemonic) {
  static const char* const names[] = {"vpdpbusd", "vpdpwssd", "vpmaddwd", "vpmaddubsw", "pmaddwd",
                                      "sdot",     "udot",     "usdot",    "smmla",      "ummla",
                                      "usmmla",   "smlal",    "smlal2"};
  return std::find(std::begin(names), std::end(names), mnemonic) != std::end(names);
}

LibraryContents inspect_library(const std::string& path) {
  const ArchiveFile file = read_archive(path);
  LibraryContents contents = inspect(path, {file.bytes, path});
  contents.checksum = file.checksum;
  return contents;
}

LibraryContents inspect_archive(const std::string& name, const std::vector<uint8_t>& archive) {
  const llvm::StringRef bytes(reinterpret_cast<const char*>(archive.data()), archive.size());
  return inspect(name, {bytes, name});
}

}  // namespace mattec::targets
