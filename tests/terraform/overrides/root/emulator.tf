variable "emulator" {
  description = "Address of moto."
  type        = string

  validation {
    condition     = startswith(var.emulator, "http://127.0.0.1:")
    error_message = "Nothing but an emulator on this machine."
  }
}
