#include "targets/load_library.h"

#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/Support/MemoryBuffer.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>

#include <mutex>

#include "base/error.h"
#include "targets/archive_members.h"
#include "targets/llvm_error.h"

namespace mattec::targets {
namespace {

constexpr char model_suffix[] = "_model";

[[noreturn]] void fail(const std::string& path, const std::string& problem) {
  throw Error(path + ": " + problem);
}

// Every member must be an object for this machine's architecture; returns the model's symbol.
std::string find_model(const std::string& path, const std::vector<ArchiveMember>& members) {
  const llvm::Triple host(llvm::sys::getProcessTriple());
  std::string model;
  for (const ArchiveMember& member : members) {
    if (member.object->getArch() != host.getArch())
      throw OtherProcessor(path + ": was compiled for " +
                           llvm::Triple::getArchTypeName(member.object->getArch()).str() +
                           ", this machine is " + host.getArchName().str() +
                           "; run it there, or compile for this target");
    for (const llvm::object::SymbolRef& symbol : member.object->symbols()) {
      const uint32_t flags = unwrap(path, "damaged symbol", symbol.getFlags());
      const llvm::StringRef name = unwrap(path, "damaged symbol", symbol.getName());
      if ((flags & llvm::object::SymbolRef::SF_Undefined) == 0 &&
          (flags & llvm::object::SymbolRef::SF_Global) != 0 && name.ends_with(model_suffix))
        model = name.str();
    }
  }
  if (model.empty())
    fail(path, "holds no symbol <name>_model; it is no library that mattec compiled");
  return model;
}

}  // namespace

LoadedLibrary LoadedLibrary::load(const std::string& path) {
  static std::once_flag initialized;
  std::call_once(initialized, [] {
    llvm::InitializeNativeTarget();
    llvm::InitializeNativeTargetAsmPrinter();
  });

  const ArchiveFile file = read_archive(path);
  const std::vector<ArchiveMember> members = archive_members(path, {file.bytes, path});
  const std::string symbol = find_model(path, members);

  std::unique_ptr<llvm::orc::LLJIT> jit =
      unwrap(path, "cannot be loaded",
             llvm::orc::LLJITBuilder().setPlatformSetUp(llvm::orc::setUpInactivePlatform).create());
  // What the linker finds wrong on the way (an undefined symbol) is reported here; the look-up
  // below only says that it failed.
  std::string reported;
  jit->getExecutionSession().setErrorReporter([&reported](llvm::Error error) {
    if (!reported.empty()) reported += "; ";
    reported += text_of(std::move(error));
  });
  for (const ArchiveMember& member : members) {
    llvm::Error added =
        jit->addObjectFile(llvm::MemoryBuffer::getMemBufferCopy(member.bytes.getBuffer(), path));
    if (added) fail(path, "cannot be loaded: " + text_of(std::move(added)));
  }
  llvm::Expected<llvm::orc::ExecutorAddr> address = jit->lookup(symbol);
  if (!address) {
    const std::string failed = text_of(address.takeError());
    const std::string problem = "cannot be linked: " + (reported.empty() ? failed : reported);
    jit.reset();
    fail(path, problem);
  }
  jit->getExecutionSession().setErrorReporter(
      [](llvm::Error error) { llvm::consumeError(std::move(error)); });

  LoadedLibrary library;
  library.checksum_ = file.checksum;
  library.model_ = address->toPtr<const mattec_model*>();
  library.name_ = symbol.substr(0, symbol.size() - (sizeof(model_suffix) - 1));
  library.code_ = std::shared_ptr<llvm::orc::LLJIT>(std::move(jit));
  return library;
}

}  // namespace mattec::targets
