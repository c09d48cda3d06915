# Formula for a tap of one's own: Homebrew's own repository would not let pip fetch what the package requires.
class Foreman < Formula
  desc "Durable, observable job queue in front of your own inference server"
  homepage "@URL@"
  url "@URL@/@SDIST@"
  sha256 "@SHA256@"
  license "MIT"

  depends_on "python@3.13"

  def install
    system Formula["python@3.13"].opt_bin/"python3.13", "-m", "venv", libexec
    system libexec/"bin/pip", "install", "--only-binary", ":all:", "--no-binary", "foreman-llm", "#{buildpath}[embedded]"
    bin.install_symlink libexec/"bin/foreman"
    generate_completions_from_executable(bin/"foreman", "completion")
  end

  service do
    run [opt_bin/"foreman", "serve"]
    keep_alive crashed: true
    log_path var/"log/foreman.log"
    error_log_path var/"log/foreman.log"
  end

  test do
    assert_equal "foreman #{version}", shell_output("#{bin}/foreman --version").strip
  end
end
