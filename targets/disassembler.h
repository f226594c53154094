// Machine code of any architecture as mnemonics, through LLVM.
#pragma once

#include <llvm/ADT/ArrayRef.h>
#include <llvm/MC/MCAsmInfo.h>
#include <llvm/MC/MCContext.h>
#include <llvm/MC/MCDisassembler/MCDisassembler.h>
#include <llvm/MC/MCInstPrinter.h>
#include <llvm/MC/MCInstrInfo.h>
#include <llvm/MC/MCRegisterInfo.h>
#include <llvm/MC/MCSubtargetInfo.h>
#include <llvm/TargetParser/Triple.h>

#include <functional>
#include <memory>
#include <string>

namespace mattec::targets {

struct Instruction {
  std::string mnemonic;  // "vpdpbusd"
  std::string operands;  // as the assembler writes them, AT&T order on x86
};

class Disassembler {
 public:
  // Knows every instruction of the architecture, whatever the processor. Throws Error if LLVM was
  // built without it.
  explicit Disassembler(const llvm::Triple& triple);

  // Calls `see` for each instruction; bytes that decode to none are skipped one at a time.
  void walk(llvm::ArrayRef<uint8_t> code, const std::function<void(const Instruction&)>& see) const;

 private:
  // Declared in the order in which they need each other.
  std::unique_ptr<const llvm::MCRegisterInfo> registers_;
  std::unique_ptr<const llvm::MCAsmInfo> assembly_;
  std::unique_ptr<const llvm::MCSubtargetInfo> subtarget_;
  std::unique_ptr<const llvm::MCInstrInfo> instructions_;
  std::unique_ptr<llvm::MCContext> context_;
  std::unique_ptr<const llvm::MCDisassembler> disassembler_;
  std::unique_ptr<llvm::MCInstPrinter> printer_;
};

}  // namespace mattec::targets
